"""Public data sets of clicks, plays and purchases."""

from jaxrec.config.preset import Preset, Version

KUAI = {"user": "user_id", "item": "video_id", "item_id": "video_id", "user_id": "user_id"}
KUAIREC = {**KUAI, "time": "timestamp"}
WATCHED = {"watched": {"column": "watch_ratio", "at_least": 1}}
LASTFM_1K = ("user", "time", "artist_id", "artist", "track_id", "track")
CAMPAIGNS = ("all", "men", "women")

EVENTS = {
    "mind": Preset(
        "https://msnews.github.io",
        "Microsoft Research License: research, no commercial use",
        {
            "columns": {"request": "impression", "item_id": "item", "title": "title"},
            "feedback": {"clicked": {"column": "clicked"}},
            "text": "{title}. {abstract}",
            "time_format": "%m/%d/%Y %I:%M:%S %p",
            "split": "leave_positive_out",
            "files": {
                "log": {"shape": "mind_impressions"},
                "items": {
                    "quoting": False,
                    "columns": [
                        "item",
                        "category",
                        "subcategory",
                        "title",
                        "abstract",
                        "url",
                        "in_title",
                        "in_abstract",
                    ],
                },
            },
        },
        (Version("news", ("behaviors.tsv",), ("news.tsv",)),),
    ),
    "lastfm": Preset(
        "http://ocelma.net/MusicRecommendationDataset/",
        "no commercial use",
        {"columns": {"item": "artist"}, "allow_bad_rows": 0.001},
        (
            Version(
                "1k",
                ("userid-timestamp-artid-artname-traid-traname.tsv",),
                users=("userid-profile.tsv",),
                data={
                    "columns": {"user_id": "#id"},
                    "feedback": {"played": {}},
                    "repeats": "keep",
                    "files": {"log": {"quoting": False, "columns": LASTFM_1K}, "users": {"quoting": False}},
                },
            ),
            Version(
                "360k",
                ("usersha1-artmbid-artname-plays.tsv",),
                users=("usersha1-profile.tsv",),
                data={
                    "columns": {"time": ""},
                    "feedback": {"often": {"column": "plays", "at_least": 100}},
                    "files": {
                        "log": {"quoting": False, "columns": ["user", "artist_id", "artist", "plays"]},
                        "users": {"quoting": False, "columns": ["user", "gender", "age", "country", "signup"]},
                    },
                },
            ),
        ),
    ),
    "steam": Preset(
        "https://cseweb.ucsd.edu/~jmcauley/datasets.html (steam_reviews) or https://www.kaggle.com (tamber/"
        "steam-video-games, antonkozyriev/game-recommendations-on-steam)",
        "see the home page of each",
        {},
        (
            Version(
                "recommendations",
                ("recommendations.csv",),
                ("games.csv",),
                data={
                    "columns": {"user": "user_id", "item": "app_id", "time": "date", "item_id": "app_id"},
                    "feedback": {
                        "recommended": {"column": "is_recommended"},
                        "played": {"column": "hours", "at_least": 10},
                    },
                },
            ),
            Version(
                "reviews",  # some have no hours
                ("steam_reviews.json", "steam_reviews.json.gz", "steam_new.json", "steam_new.json.gz"),
                ("steam_games.json", "steam_games.json.gz"),
                data={
                    "columns": {
                        "user": "username",
                        "item": "product_id",
                        "time": "date",
                        "item_id": "id",
                        "title": "app_name",
                    },
                    "feedback": {"played": {"column": "hours", "at_least": 10}},
                    "allow_bad_rows": 0.01,
                    "text": "{title}. {genres}. {tags}",
                },
            ),
            Version(
                "200k",  # the hours of a purchase are 1
                ("steam-200k.csv",),
                data={
                    "columns": {"item": "game", "time": ""},
                    "feedback": {"played": {"column": "hours", "at_least": 2}},
                    "files": {"log": {"columns": ["user", "game", "behavior", "hours", "nothing"]}},
                },
            ),
        ),
    ),
    "kuairec": Preset(
        "https://kuairec.com",
        "CC BY-SA 4.0",
        {"columns": KUAIREC, "feedback": WATCHED},
        (
            Version(
                "captions",
                ("big_matrix.csv",),
                ("kuairec_caption_category.csv",),
                ("user_features.csv",),
                needs=("kuairec_caption_category.csv",),
                data={
                    "allow_bad_rows": 0.01,  # captions may hold line breaks
                    "columns": {"title": "caption"},
                    "text": "{title}. {topic_tag}. {first_level_category_name}",
                    "files": {"items": {"plain_text": True}},
                },
            ),
            Version(
                "categories",
                ("big_matrix.csv",),
                ("item_categories.csv",),
                ("user_features.csv",),
                data={"columns": {"title": ""}, "text": "Categories {feat}"},
            ),
        ),
    ),
    "kuairand": Preset(
        "https://kuairand.com",
        "CC BY-SA 4.0",
        {
            "columns": {**KUAI, "time": "time_ms", "title": ""},
            "feedback": {
                "clicked": {"column": "is_click"},
                "liked": {"column": "is_like"},
                "watched": {"column": "long_view"},
                "hated": {"column": "is_hate"},
            },
            "text": "Tags {tag}. {video_type}",
            "time_format": "ms",
            "split": "leave_positive_out",
        },
        tuple(
            Version(
                size,
                (f"log_standard_*_{size}.csv", f"log_standard_*_{size}_part*.csv"),
                (f"video_features_basic_{size}.csv",),
                (f"user_features_{size}.csv",),
            )
            for size in ("pure", "1k", "27k")
        ),
    ),
    "retailrocket": Preset(
        "https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset",
        "CC BY-NC-SA 4.0",
        {
            "columns": {"user": "visitorid", "item": "itemid", "time": "timestamp", "item_id": "itemid", "title": ""},
            "feedback": {
                "bought": {"column": "event", "equals": "transaction"},
                "carted": {"column": "event", "equals": "addtocart"},
                "viewed": {"column": "event", "equals": "view"},
            },
            "time_format": "ms",
        },
        (
            Version(
                "categories",
                ("events.csv",),
                ("item_properties_part*.csv",),
                needs=("item_properties_part*.csv",),
                data={"text": "Category {categoryid}", "files": {"items": {"shape": "retailrocket_properties"}}},
            ),
            Version("events", ("events.csv",)),
        ),
    ),
    "hm": Preset(
        "https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations",
        "rules of the competition: no commercial use",
        {
            "columns": {
                "user": "customer_id",
                "item": "article_id",
                "time": "t_dat",
                "item_id": "article_id",
                "title": "prod_name",
                "user_id": "customer_id",
            },
            "feedback": {"bought": {}},
            "repeats": "keep",
            "text": "{title}. {product_type_name}. {colour_group_name}. {detail_desc}",
        },
        (Version("transactions", ("transactions_train.csv",), ("articles.csv",), ("customers.csv",)),),
    ),
    "tenrec": Preset(
        "https://github.com/yuangh-x/2022-NIPS-Tenrec",
        "CC BY-NC 4.0",
        {
            "columns": {"user": "user_id", "item": "item_id", "time": ""},
            "feedback": {
                "clicked": {"column": "click"},
                "liked": {"column": "like"},
                "shared": {"column": "share"},
                "followed": {"column": "follow"},
            },
            "split": "leave_positive_out",
        },
        (
            Version("ctr", ("ctr_data_1M.csv",)),
            Version("qk_video", ("QK-video.csv",)),
            Version("qb_video", ("QB-video.csv",)),
        ),
    ),
    "open_bandit": Preset(
        "https://research.zozo.com/data.html",
        "CC BY 4.0",
        {
            "columns": {"item": "item_id", "time": "timestamp", "item_id": "item_id", "title": ""},
            "feedback": {"clicked": {"column": "click"}},
            "context": ["position"],
            "repeats": "keep",
            "split": "leave_positive_out",
            "text": "{item_feature_1} {item_feature_2} {item_feature_3}",
            "files": {"log": {"shape": "open_bandit"}},
        },
        tuple(Version(name, (f"{name}.csv",), ("item_context.csv",)) for name in CAMPAIGNS),
    ),
}
