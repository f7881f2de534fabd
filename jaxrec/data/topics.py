"""Vocabulary of the generated catalogue: 24 topics that a text encoder can distinguish."""

from typing import NamedTuple


class Topic(NamedTuple):
    """Words of one topic."""

    subjects: tuple[str, ...]  # plural nouns for titles
    details: tuple[str, ...]  # for descriptions


TITLES = (
    "{a} for Beginners",
    "A Short History of {a}",
    "The Quiet Joy of {a}",
    "In Praise of {a}",
    "Ten Lessons from {a}",
    "The Truth about {a}",
    "{a} and {b}",
    "{a}, Step by Step",
    "A Lifetime among {a}",
    "From {a} to {b}",
    "{a} Reconsidered",
    "Letters about {a}",
)
DESCRIPTIONS = (
    "A patient look at {c}, {d} and {e}.",
    "Stories about {c}, with a chapter on {d} and {e}.",
    "Everything one should know about {c} and {d}, ending with {e}.",
    "An evening with {c}, {d} and {e}.",
    "How {c} leads to {d}, and why {e} matters.",
)

TOPICS: tuple[Topic, ...] = (
    Topic(  # space opera
        ("Starships", "Galactic Empires", "Space Battles", "Alien Fleets", "Warp Drives", "Star Admirals"),
        (
            "an interstellar war",
            "a rebel fleet",
            "the captain of a starship",
            "an alien senate",
            "hyperspace jumps",
        ),
    ),
    Topic(  # baking
        (
            "Sourdough Loaves",
            "Butter Croissants",
            "Layer Cakes",
            "Rye Breads",
            "Fruit Tarts",
            "Cinnamon Buns",
        ),
        ("a slow dough", "oven temperature", "flour and yeast", "a crisp crust", "whipped butter cream"),
    ),
    Topic(  # trail running
        (
            "Trail Runs",
            "Mountain Ultramarathons",
            "Hill Repeats",
            "Running Shoes",
            "Forest Races",
            "Long Runs",
        ),
        (
            "pacing a steep climb",
            "running on loose rock",
            "a marathon plan",
            "sore calves",
            "drinking on the run",
        ),
    ),
    Topic(  # detective fiction
        ("Murder Mysteries", "Village Detectives", "Locked Rooms", "Poisoners", "Cold Cases", "Private Eyes"),
        (
            "a body in the library",
            "a false alibi",
            "an inspector's hunch",
            "the missing revolver",
            "a last suspect",
        ),
    ),
    Topic(  # gardening
        ("Vegetable Beds", "Rose Gardens", "Compost Heaps", "Greenhouses", "Tomato Plants", "Herb Borders"),
        ("sowing in spring", "pruning roses", "rich garden soil", "keeping slugs away", "watering seedlings"),
    ),
    Topic(  # jazz
        ("Jazz Trios", "Saxophone Solos", "Bebop Records", "Big Bands", "Jazz Clubs", "Trumpet Players"),
        ("a walking bass line", "improvised choruses", "swing rhythm", "a late set in Harlem", "blue notes"),
    ),
    Topic(  # personal finance
        ("Index Funds", "Pension Plans", "Household Budgets", "Mortgages", "Savings Accounts", "Tax Returns"),
        (
            "compound interest",
            "paying off debt",
            "a stock portfolio",
            "retirement income",
            "insurance premiums",
        ),
    ),
    Topic(  # astronomy
        ("Telescopes", "Distant Galaxies", "Black Holes", "Meteor Showers", "Lunar Craters", "Exoplanets"),
        (
            "the light of old stars",
            "the orbit of Jupiter",
            "a dark night sky",
            "a supernova",
            "the Milky Way",
        ),
    ),
    Topic(  # football
        (
            "Football Managers",
            "Penalty Kicks",
            "Cup Finals",
            "Goalkeepers",
            "Midfielders",
            "Football Derbies",
        ),
        (
            "a late winning goal",
            "pressing high up the pitch",
            "the transfer window",
            "an offside call",
            "the league",
        ),
    ),
    Topic(  # knitting
        (
            "Wool Sweaters",
            "Knitting Patterns",
            "Cable Stitches",
            "Hand-Knit Socks",
            "Lace Shawls",
            "Merino Yarns",
        ),
        ("casting on", "a circular needle", "choosing yarn", "a dropped stitch", "blocking a shawl"),
    ),
    Topic(  # ancient Rome
        ("Roman Legions", "Roman Emperors", "Aqueducts", "Gladiators", "Roman Senators", "Roman Roads"),
        ("Julius Caesar", "the fall of the Republic", "Latin inscriptions", "the Colosseum", "a Punic war"),
    ),
    Topic(  # home brewing and coffee
        (
            "Espresso Machines",
            "Coffee Roasters",
            "Pour-Over Brews",
            "Coffee Beans",
            "Baristas",
            "Flat Whites",
        ),
        (
            "grind size",
            "water temperature",
            "a light roast from Ethiopia",
            "milk foam",
            "bitterness in the cup",
        ),
    ),
    Topic(  # wildlife of the sea
        ("Coral Reefs", "Humpback Whales", "Deep-Sea Fish", "Octopuses", "Sea Turtles", "Sharks"),
        (
            "plankton and krill",
            "a whale's song",
            "bleached coral",
            "life in the ocean trench",
            "ocean currents",
        ),
    ),
    Topic(  # programming
        ("Compilers", "Software Bugs", "Python Scripts", "Databases", "Unit Tests", "Open Source Libraries"),
        ("debugging a memory leak", "a clean function", "version control", "type checking", "a slow query"),
    ),
    Topic(  # romance
        (
            "Summer Romances",
            "Love Letters",
            "Wedding Planners",
            "Second Chances in Love",
            "First Kisses",
            "Lovers",
        ),
        (
            "a broken engagement",
            "falling in love by the sea",
            "a jealous rival",
            "a shy bookseller",
            "a proposal",
        ),
    ),
    Topic(  # horror
        ("Haunted Houses", "Vampires", "Ghosts in the Attic", "Cursed Dolls", "Zombies", "Nightmares"),
        (
            "blood on the stairs",
            "a scream at midnight",
            "something under the bed",
            "an exorcism",
            "an old graveyard",
        ),
    ),
    Topic(  # cycling
        ("Road Bikes", "Cycling Climbs", "Bicycle Tours", "Gravel Bikes", "Bicycle Chains", "Time Trials"),
        (
            "the Tour de France",
            "changing a tyre",
            "riding in the peloton",
            "pedals and cadence",
            "an alpine pass",
        ),
    ),
    Topic(  # parenting
        ("Newborns", "Toddlers", "Bedtime Routines", "School Mornings", "Temper Tantrums", "Family Dinners"),
        ("a baby who will not sleep", "raising siblings", "screen time", "potty training", "calm parents"),
    ),
    Topic(  # watercolour painting
        (
            "Watercolours",
            "Landscape Paintings",
            "Sketchbooks",
            "Paintbrushes",
            "Portrait Studies",
            "Oil Paints",
        ),
        (
            "mixing pigments",
            "a wet wash on paper",
            "light and shadow",
            "drawing from life",
            "a painter's studio",
        ),
    ),
    Topic(  # westerns
        ("Cowboys", "Gunfighters", "Frontier Towns", "Cattle Drives", "Sheriffs", "Stagecoaches"),
        ("a duel at noon", "an outlaw's revenge", "a dusty saloon", "a stolen horse", "the gold rush"),
    ),
    Topic(  # meditation and yoga
        (
            "Yoga Poses",
            "Breathing Exercises",
            "Silent Retreats",
            "Mindful Mornings",
            "Meditations",
            "Sun Salutations",
        ),
        (
            "a quiet mind",
            "sitting in stillness",
            "letting go of stress",
            "a yoga mat",
            "awareness of the breath",
        ),
    ),
    Topic(  # electric cars
        (
            "Electric Cars",
            "Car Batteries",
            "Charging Stations",
            "Hybrid Engines",
            "Self-Driving Cars",
            "Sports Cars",
        ),
        (
            "range in winter",
            "a fast charger",
            "horsepower and torque",
            "a test drive",
            "the price of a new car",
        ),
    ),
    Topic(  # politics
        (
            "Elections",
            "Prime Ministers",
            "Parliaments",
            "Political Scandals",
            "Coalitions",
            "Campaign Trails",
        ),
        (
            "a narrow vote",
            "a speech to the nation",
            "opposition leaders",
            "a leaked memo",
            "constitutional reform",
        ),
    ),
    Topic(  # board games and chess
        ("Chess Openings", "Board Games", "Endgames", "Grandmasters", "Card Games", "Dice Games"),
        (
            "a queen sacrifice",
            "checkmate in three",
            "a game night with friends",
            "rolling dice",
            "a world championship",
        ),
    ),
)
