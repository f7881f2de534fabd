"""`python -m jaxrec.cli`, for machines where the console command is not on the path."""

import sys

from jaxrec.cli import main

sys.exit(main())
