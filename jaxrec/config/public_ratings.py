"""Public data sets of ratings and reviews."""

from jaxrec.config.preset import Preset, Version

GOODREADS = {
    "columns": {"user": "user_id", "item": "book_id", "time": "date_added", "item_id": "book_id", "title": "title"},
    "text": "{title}. {description}",
    "time_format": "%a %b %d %H:%M:%S %z %Y",
}
AMAZON = {"user": "reviewerID", "item": "asin", "time": "unixReviewTime", "item_id": "asin", "title": "title"}
AMAZON_2023 = {"user": "user_id", "item": "parent_asin", "time": "timestamp", "item_id": "parent_asin"}
OVERALL = {"liked": {"column": "overall", "at_least": 4}}
RATING = {"liked": {"column": "rating", "at_least": 4}}

RATINGS = {
    "movielens": Preset(
        "https://grouplens.org/datasets/movielens/",
        "research; redistribution and commercial use need permission",
        {"feedback": RATING, "text": "{title}. {genres}"},
        (
            Version(
                "csv",  # latest, latest-small, 20M, 25M, 32M
                ("ratings.csv",),
                ("movies.csv",),
                data={"columns": {"user": "userId", "item": "movieId", "time": "timestamp", "item_id": "movieId"}},
            ),
            Version(
                "1m",
                ("ratings.dat",),
                ("movies.dat",),
                ("users.dat",),
                needs=("users.dat",),
                data={
                    "files": {
                        "log": {"separator": "::", "columns": ["user", "item", "rating", "time"]},
                        "items": {"separator": "::", "columns": ["item", "title", "genres"], "encoding": "latin-1"},
                        "users": {
                            "separator": "::",
                            "columns": ["user", "gender", "age", "occupation", "zip_code"],
                            "encoding": "latin-1",
                        },
                    }
                },
            ),
            Version(
                "10m",
                ("ratings.dat",),
                ("movies.dat",),
                data={
                    "files": {
                        "log": {"separator": "::", "columns": ["user", "item", "rating", "time"]},
                        "items": {"separator": "::", "columns": ["item", "title", "genres"]},
                    }
                },
            ),
            Version(
                "100k",
                ("u.data",),
                ("u.item",),
                ("u.user",),
                data={
                    "files": {
                        "log": {"separator": "tab", "columns": ["user", "item", "rating", "time"]},
                        "items": {"shape": "movielens_100k", "encoding": "latin-1"},
                        "users": {"separator": "|", "columns": ["user", "age", "gender", "occupation", "zip_code"]},
                    }
                },
            ),
        ),
    ),
    "amazon": Preset(
        "https://cseweb.ucsd.edu/~jmcauley/datasets.html (2014, 2018) or https://amazon-reviews-2023.github.io",
        "research; none is stated, so ask the authors for other uses",
        {"files": {"items": {"plain_text": True}}},
        (
            Version(
                "2023",
                ("[A-Z]*.jsonl", "[A-Z]*.jsonl.gz"),
                ("meta_*.jsonl", "meta_*.jsonl.gz"),
                data={
                    "columns": AMAZON_2023,
                    "feedback": RATING,
                    "text": "{title}. {store}. {description}",
                },
            ),
            Version(
                "2014",
                ("reviews_*_5.json", "reviews_*_5.json.gz", "reviews_*.json", "reviews_*.json.gz"),
                ("meta_*.json", "meta_*.json.gz"),
                data={
                    "columns": AMAZON,
                    "feedback": OVERALL,
                    "text": "{title}. {description}",
                },
            ),
            Version(
                "2018",
                ("[A-Z]*_5.json", "[A-Z]*_5.json.gz", "[A-Z]*.json", "[A-Z]*.json.gz"),
                ("meta_*.json", "meta_*.json.gz"),
                data={
                    "columns": AMAZON,
                    "feedback": OVERALL,
                    "text": "{title}. {brand}. {description}",
                },
            ),
            Version(
                "2014 ratings",
                ("ratings_*.csv", "ratings_*.csv.gz"),
                ("meta_*.json", "meta_*.json.gz"),
                data={
                    "columns": {"item_id": "asin"},
                    "feedback": RATING,
                    "text": "{title}. {description}",
                    "files": {"log": {"columns": ["user", "item", "rating", "time"]}},
                },
            ),
            Version(
                "2023 ratings",
                ("[A-Z]*.csv", "[A-Z]*.csv.gz"),
                ("meta_*.jsonl", "meta_*.jsonl.gz"),
                needs=("meta_*.jsonl*",),
                data={
                    "columns": AMAZON_2023,
                    "feedback": RATING,
                    "text": "{title}. {store}. {description}",
                },
            ),
            Version(
                "2018 ratings",
                ("[A-Z]*.csv", "[A-Z]*.csv.gz"),
                ("meta_*.json", "meta_*.json.gz"),
                data={
                    "columns": {"item_id": "asin"},
                    "feedback": RATING,
                    "text": "{title}. {brand}. {description}",
                    "files": {"log": {"columns": ["item", "user", "rating", "time"]}},
                },
            ),
        ),
    ),
    "goodreads": Preset(
        "https://cseweb.ucsd.edu/~jmcauley/datasets/goodreads.html",
        "academic use; no redistribution and no commercial use",
        GOODREADS,
        (
            Version(
                "interactions",  # a rating of 0 is none
                ("goodreads_interactions*.json", "goodreads_interactions*.json.gz"),
                ("goodreads_books*.json", "goodreads_books*.json.gz"),
                data={"feedback": {**RATING, "read": {"column": "is_read"}}},
            ),
            Version(
                "reviews",
                ("goodreads_reviews*.json", "goodreads_reviews*.json.gz"),
                ("goodreads_books*.json", "goodreads_books*.json.gz"),
                data={"feedback": RATING},
            ),
        ),
    ),
    "yelp": Preset(
        "https://business.yelp.com/data/resources/open-dataset/",
        "academic use under Yelp's terms",
        {
            "columns": {
                "user": "user_id",
                "item": "business_id",
                "time": "date",
                "item_id": "business_id",
                "title": "name",
                "user_id": "user_id",
            },
            "feedback": {"liked": {"column": "stars", "at_least": 4}},
            "text": "{title}. {categories}. {city}",
        },
        (Version("json", ("yelp_academic_dataset_review.json",), ("yelp_academic_dataset_business.json",)),),
    ),
    "book_crossing": Preset(
        "http://www2.informatik.uni-freiburg.de/~cziegler/BX/",
        "research with acknowledgement",
        {
            "columns": {
                "user": "User-ID",
                "item": "ISBN",
                "time": "",
                "item_id": "ISBN",
                "title": "Book-Title",
                "user_id": "User-ID",
            },
            "feedback": {"liked": {"column": "Book-Rating", "at_least": 7}},
            "where": [{"column": "Book-Rating", "at_least": 1}],  # 0: a book without a rating
            "text": "{title}. {Book-Author}. {Publisher}",
        },
        (
            Version(
                "dump",
                ("BX-Book-Ratings.csv",),
                ("BX-Books.csv", "BX_Books.csv"),
                ("BX-Users.csv",),
                data={
                    "allow_bad_rows": 0.0001,  # three books have an author inside of the title
                    "files": {
                        "log": {"shape": "book_crossing_ratings", "encoding": "latin-1"},
                        "items": {"shape": "book_crossing_books", "encoding": "latin-1", "plain_text": True},
                        "users": {"separator": ";", "encoding": "latin-1"},
                    },
                },
            ),
            Version("comma", ("Ratings.csv",), ("Books.csv",), ("Users.csv",)),  # as Kaggle has it
        ),
    ),
    "netflix": Preset(
        "https://www.kaggle.com/datasets/netflix-inc/netflix-prize-data",
        "research under the terms of the prize; no redistribution",
        {
            "columns": {"item_id": "movie"} | {"user": "customer", "item": "movie", "time": "date"},
            "feedback": RATING,
            "files": {
                "log": {"shape": "netflix_ratings"},
                "items": {"shape": "netflix_titles", "encoding": "latin-1"},
            },
            "text": "{title} ({year})",
        },
        (
            Version("combined", ("combined_data_*.txt",), ("movie_titles.csv", "movie_titles.txt")),
            Version("prize", ("training_set/mv_*.txt",), ("movie_titles.txt", "movie_titles.csv")),
        ),
    ),
}
