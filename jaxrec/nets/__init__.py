"""Networks: history encoders, and policies that score items."""
