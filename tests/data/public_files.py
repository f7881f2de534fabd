"""Tiny files of public data sets, written as published, and the logs that they hold."""

import dataclasses
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Public:
    """Files of a data set, what is set besides it, and what must be read."""

    source: str
    version: str  # that must be found
    files: Mapping[str, str | bytes]
    rows: list[tuple]  # user number, item, time, feedback; by user and time
    kinds: tuple[str, ...]
    texts: Mapping[str, str]  # by item
    titles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    context: tuple[str, ...] = ()
    account: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write the files; a text is UTF-8, and a name ending in .gz is compressed."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def us(seconds: int) -> int:
    """Seconds as microseconds, the unit of dates."""
    return seconds * 10**6


def lines(*rows: dict) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


ML_GENRES = "|".join("1" if n in (1, 6) else "0" for n in range(19))  # Action and Crime
ML_LIKES = [(0, "20", 5, (1,)), (0, "3", 6, (0,)), (1, "20", 1, (0,))]

MOVIELENS = [
    Public(
        "movielens",
        "100k",
        {
            "u.data": "7\t20\t4\t5\n7\t3\t3\t6\n9\t20\t2\t1\n",
            "u.item": (
                f"3|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?a|{ML_GENRES}\n"
                f"20|Twenty (1996)|02-Feb-1996||http://us.imdb.com/M/title-exact?b|{ML_GENRES.replace('1', '0')}\n"
            ).encode("latin-1"),
            "u.user": "7|24|M|technician|85711\n9|53|F|other|94043\n",
        },
        ML_LIKES,
        ("liked",),
        {"3": "Misérables, Les (1995). Action, Crime", "20": "Twenty (1996)."},
        {"3": "Misérables, Les (1995)"},
        {"context": ["gender"]},
        ("gender=M", "gender=F"),
    ),
    Public(
        "movielens",
        "1m",
        {
            "ratings.dat": "7::20::4::5\n7::3::3::6\n9::20::2::1\n",
            "movies.dat": "3::Misérables, Les (1995)::Drama|Musical\n20::Alien: One (1996)::Horror\n".encode("latin-1"),
            "users.dat": "7::M::25::15::55117\n9::F::1::10::48067\n",
        },
        ML_LIKES,
        ("liked",),
        {"3": "Misérables, Les (1995). Drama, Musical", "20": "Alien: One (1996). Horror"},
        settings={"context": ["occupation"]},
        context=("occupation=15", "occupation=10"),
    ),
    Public(
        "movielens",
        "10m",
        {
            "ratings.dat": "7::20::4.5::5\n7::3::3::6\n9::20::2::1\n",
            "movies.dat": "3::Misérables, Les (1995)::Drama\n20::Twenty (1996)::(no genres listed)\n",
            "tags.dat": "7::3::slow::9\n9::3::Slow::9\n9::3::France::9\n",
        },
        ML_LIKES,
        ("liked",),
        {"3": "Misérables, Les (1995): Drama; slow, france", "20": "Twenty (1996): ;"},
        settings={"text": "{title}: {genres}; {tags}"},
    ),
    Public(
        "movielens",
        "csv",
        {
            "ratings.csv": "userId,movieId,rating,timestamp\n7,20,4.0,5\n7,3,3.5,6\n9,20,2.0,1\n",
            "movies.csv": 'movieId,title,genres\n3,"Three, The (1993)",Drama|Crime\n20,Twenty,(no genres listed)\n',
            "links.csv": "movieId,imdbId,tmdbId\n3,0114709,862\n",
        },
        ML_LIKES,
        ("liked",),
        {"3": "Three, The (1993). Drama, Crime", "20": "Twenty."},
    ),
]

REVIEW_2014 = {
    "reviewerID": "A1",
    "asin": "0001",
    "reviewerName": "J",
    "helpful": [2, 3],
    "reviewText": "Fine.",
    "overall": 5.0,
    "summary": "Good",
    "unixReviewTime": 1252800000,
    "reviewTime": "09 13, 2009",
}
REVIEW_2018 = {
    "overall": 2.0,
    "verified": True,
    "reviewTime": "09 13, 2009",
    "reviewerID": "A1",
    "asin": "0001",
    "style": {"Size:": " Large"},
    "reviewerName": "J",
    "reviewText": "Fine.",
    "summary": "Good",
    "unixReviewTime": 1252800000,
}
META_2018 = {
    "category": ["Beauty", "Hair"],
    "description": ["A <b>brush</b>.", "For hair &amp; beards."],
    "title": "Brush",
    "also_buy": [],
    "brand": "Acme",
    "rank": "1 in Beauty",
    "price": "$1",
    "asin": "0001",
}
REVIEW_2023 = {
    "rating": 4.0,
    "title": "Good",
    "text": "Fine.",
    "images": [{"small_image_url": "https://a"}],
    "asin": "B1",
    "parent_asin": "B0",
    "user_id": "AGK",
    "timestamp": 1588687728923,
    "helpful_vote": 0,
    "verified_purchase": True,
}
META_2023 = {
    "main_category": "All Beauty",
    "title": "Brush",
    "average_rating": 4.8,
    "rating_number": 10,
    "features": [],
    "description": ["A brush.", "Soft."],
    "price": None,
    "images": [{"thumb": "https://a"}],
    "videos": [],
    "store": "Acme",
    "categories": [],
    "details": {"Size": "9"},
    "parent_asin": "B0",
    "bought_together": None,
}
AMAZON = [
    Public(
        "amazon",
        "2014",
        {
            "reviews_Beauty_5.json.gz": lines(
                REVIEW_2014, {**REVIEW_2014, "asin": "B00", "overall": 3.0, "unixReviewTime": 1252900000}
            ),
            "reviews_Beauty.json.gz": lines(REVIEW_2014),  # the 5-core comes first
            "meta_Beauty.json.gz": (
                "{'asin': '0001', 'title': \"Women's Brush\", 'related': {'also_bought': ['B00']}, 'salesRank': "
                "{'Beauty': 3}, 'brand': 'Acme', 'categories': [['Beauty']], 'description': 'Soft &amp; light.'}\n"
                "{'asin': 'B00', 'price': 9.99, 'categories': [['Beauty']]}\n"
            ),
        },
        [(0, "0001", 1252800000, (1,)), (0, "B00", 1252900000, (0,))],
        ("liked",),
        {"0001": "Women's Brush. Soft & light.", "B00": "B00."},
    ),
    Public(
        "amazon",
        "2014 ratings",
        {
            "ratings_Beauty.csv": "A1,0001,5.0,1252800000\nA2,0001,1.0,1252800001\n",
            "meta_Beauty.json.gz": "{'asin': '0001', 'title': 'Brush', 'description': 'Soft.'}\n",
        },
        [(0, "0001", 1252800000, (1,)), (1, "0001", 1252800001, (0,))],
        ("liked",),
        {"0001": "Brush. Soft."},
    ),
    Public(
        "amazon",
        "2018",
        {"All_Beauty_5.json.gz": lines(REVIEW_2018), "meta_All_Beauty.json.gz": lines(META_2018)},
        [(0, "0001", 1252800000, (0,))],
        ("liked",),
        {"0001": "Brush. Acme. A brush., For hair & beards."},
    ),
    Public(
        "amazon",
        "2018 ratings",
        {"All_Beauty.csv": "0001,A1,5.0,1252800000\n", "meta_All_Beauty.json.gz": lines(META_2018)},
        [(0, "0001", 1252800000, (1,))],
        ("liked",),
        {"0001": "Brush. Acme. A brush., For hair & beards."},
    ),
    Public(
        "amazon",
        "2023",
        {"All_Beauty.jsonl.gz": lines(REVIEW_2023), "meta_All_Beauty.jsonl.gz": lines(META_2023)},
        [(0, "B0", 1588687728923, (1,))],
        ("liked",),
        {"B0": "Brush. Acme. A brush., Soft."},
    ),
    Public(
        "amazon",
        "2023 ratings",
        {
            "All_Beauty.csv": "user_id,parent_asin,rating,timestamp\nAGK,B0,2.0,1588687728923\n",
            "meta_All_Beauty.jsonl": lines(META_2023),
        },
        [(0, "B0", 1588687728923, (0,))],
        ("liked",),
        {"B0": "Brush. Acme. A brush., Soft."},
    ),
]

SHELVED = {
    "user_id": "8842281e1d",
    "book_id": "24375664",
    "review_id": "5cd416f3",
    "is_read": True,
    "rating": 5,
    "review_text_incomplete": "",
    "date_added": "Fri Aug 25 13:55:02 -0700 2017",
    "date_updated": "Mon Oct 09 08:55:59 -0700 2017",
    "read_at": "",
    "started_at": "",
}
BOOK = {
    "isbn": "0312853122",
    "series": [],
    "popular_shelves": [{"count": "3", "name": "to-read"}],
    "authors": [{"author_id": "604031", "role": ""}],
    "description": "A story.",
    "book_id": "24375664",
    "title": "W.C. Fields",
}
REVIEWS = [
    Public(
        "goodreads",
        "interactions",
        {
            "goodreads_interactions_poetry.json.gz": lines(
                SHELVED, {**SHELVED, "book_id": "1", "rating": 0, "is_read": False}
            ),
            "goodreads_books_poetry.json.gz": lines(BOOK),
        },
        [(0, "24375664", us(1503694502), (1, 1)), (0, "1", us(1503694502), (0, 0))],
        ("liked", "read"),
        {"24375664": "W.C. Fields. A story.", "1": "1"},
    ),
    Public(
        "goodreads",
        "reviews",
        {
            "goodreads_reviews_poetry.json.gz": lines(
                {
                    "user_id": "8842281e1d",
                    "book_id": "24375664",
                    "review_id": "5cd416f3",
                    "rating": 3,
                    "review_text": "Mind blowing.",
                    "date_added": "Fri Aug 25 13:55:02 -0700 2017",
                    "date_updated": "Mon Oct 09 08:55:59 -0700 2017",
                    "read_at": "",
                    "started_at": "",
                    "n_votes": 28,
                    "n_comments": 1,
                }
            ),
            "goodreads_books_poetry.json.gz": lines(BOOK),
        },
        [(0, "24375664", us(1503694502), (0,))],
        ("liked",),
        {"24375664": "W.C. Fields. A story."},
    ),
    Public(
        "yelp",
        "json",
        {
            "yelp_academic_dataset_review.json": lines(
                {
                    "review_id": "KU_O5udG6zpxOg-VcAEodg",
                    "user_id": "mh_-eMZ6K5RLWhZyISBhwA",
                    "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw",
                    "stars": 3.0,
                    "useful": 0,
                    "funny": 0,
                    "cool": 0,
                    "text": "Okay.\n\nFood, too.",
                    "date": "2018-07-07 22:09:11",
                }
            ),
            "yelp_academic_dataset_business.json": lines(
                {
                    "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw",
                    "name": "Turning Point",
                    "address": "1460 Bethlehem Pike",
                    "city": "North Wales",
                    "state": "PA",
                    "stars": 3.0,
                    "is_open": 1,
                    "attributes": {"NoiseLevel": "u'average'"},
                    "categories": "Restaurants, Breakfast & Brunch",
                    "hours": None,
                }
            ),
        },
        [(0, "XQfwVwDr-v0ZS3_CbbE5Xw", us(1531001351), (0,))],
        ("liked",),
        {"XQfwVwDr-v0ZS3_CbbE5Xw": "Turning Point. Restaurants, Breakfast & Brunch. North Wales"},
    ),
    Public(
        "book_crossing",
        "dump",
        {
            "BX-Book-Ratings.csv": (
                b'"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n"276726";"0155061224";"5"\r\n'
                b'"276726";"2080674722";"9"\r\n'
            ),
            "BX-Books.csv": (
                '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";'
                '"Image-URL-L"\r\n"0155061224";"The Real \\"J. P.\\" Rides; Again &amp; Again";"J. Émile";"1999";'
                '"Rob &amp; Co";"http://s";"http://m";"http://l"\r\n'
            ).encode("latin-1"),
            "BX-Users.csv": (
                '"User-ID";"Location";"Age"\r\n"276725";"nyc, usa";NULL\r\n"276726";"são, brazil";"18"\r\n'
            ).encode("latin-1"),
        },
        [(0, "0155061224", 1, (0,)), (0, "2080674722", 2, (1,))],
        ("liked",),
        {"0155061224": 'The Real "J. P." Rides; Again & Again. J. Émile. Rob & Co', "2080674722": "2080674722"},
        {"0155061224": 'The Real "J. P." Rides; Again & Again'},
        {"context": ["Location"]},
        ("Location=são, brazil",),
        ("BX-Book-Ratings.csv: left out 1 row by data.where on Book-Rating",),
    ),
    Public(
        "book_crossing",
        "comma",
        {
            "Ratings.csv": "User-ID,ISBN,Book-Rating\n276725,034545104X,0\n276726,0155061224,8\n",
            "Books.csv": (
                "ISBN,Book-Title,Book-Author,Year-Of-Publication,Publisher,Image-URL-S,Image-URL-M,Image-URL-L\n"
                '0155061224,"Rites, Passage",Judith,2001,Heinle,http://s,http://m,http://l\n'
            ),
            "Users.csv": 'User-ID,Location,Age\n276726,"seattle, usa",\n',
        },
        [(0, "0155061224", 1, (1,))],
        ("liked",),
        {"0155061224": "Rites, Passage. Judith. Heinle"},
    ),
    Public(
        "netflix",
        "combined",
        {
            "combined_data_1.txt": "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n1488844,4,2005-12-26\n",
            "combined_data_2.txt": "4500:\n822109,1,2005-05-14\n",
            "movie_titles.csv": "1,2003,Dinosaur Planet\n2,1974,Amélie, A Stranger, Alone\n4500,NULL,Roti\n".encode(
                "latin-1"
            ),
        },
        [
            (0, "1", us(1125964800), (0,)),
            (0, "2", us(1135555200), (1,)),
            (1, "1", us(1115942400), (1,)),
            (1, "4500", us(1116028800), (0,)),
        ],
        ("liked",),
        {"1": "Dinosaur Planet (2003)", "2": "Amélie, A Stranger, Alone (1974)", "4500": "Roti ()"},
    ),
    Public(
        "netflix",
        "prize",
        {
            "training_set/mv_0000001.txt": "1:\n1488844,3,2005-09-06\n",
            "training_set/mv_0000002.txt": "2:\n1488844,4,2005-12-26\n",
            "movie_titles.txt": "1,2003,Dinosaur Planet\n2,2004,Isle of Man TT\n",
        },
        [(0, "1", us(1125964800), (0,)), (0, "2", us(1135555200), (1,))],
        ("liked",),
        {"1": "Dinosaur Planet (2003)"},
    ),
]

STEAM_REVIEW = (
    "{{u'username': u'Chaos', u'hours': {}, u'products': 41, u'product_id': u'{}', u'page_order': 0, "
    "u'date': u'2017-12-17', u'text': u'It\\'s \"ok\"', u'early_access': False, u'page': 1}}\n"
)
KUAI_LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
TENREC = "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age"
BANDIT = (
    ",timestamp,item_id,position,click,propensity_score,user_feature_0,"
    "user_feature_1,user_feature_2,user_feature_3,user-item_affinity_0\n"
)
EVENTS = [
    Public(
        "mind",
        "news",
        {
            "behaviors.tsv": (
                "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782\tN55689-1 N35729-0\n"
                "2\tU91836\t11/12/2019 6:11:30 PM\t\tN35729-0\n"
                "3\tU13740\t11/12/2019 12:00:00 AM\tN55189\tN35729-1\n"
            ),
            "news.tsv": (
                'N55689\tsports\tfootball\tCharles "Tillman"\tHe said "no\thttps://a\t[{"Label": "NFL"}]\t[]\n'
                "N35729\tnews\tnewsus\tPorsche\t\thttps://b\t[]\t[]\n"
            ),
        },
        [
            (0, "N55689", us(1573463158), (1,)),
            (0, "N35729", us(1573516800), (1,)),
            (1, "N35729", us(1573582290), (0,)),
        ],
        ("clicked",),
        {"N55689": 'Charles "Tillman". He said "no', "N35729": "Porsche."},
        {"N55689": 'Charles "Tillman"'},
        {"context": ["position"]},
        ("position=0",),
    ),
    Public(
        "lastfm",
        "1k",
        {
            "userid-timestamp-artid-artname-traid-traname.tsv": (
                'user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tFuck Me "Im" Famous\n'
                "user_000001\t2009-05-04T13:54:10Z\ta7f7df4a\tDeep Dish\t\tComposition\n"
                'user_000002\t2009-05-04T13:54:10Z\t\t"Weird Al"\t\tEat It\n'
            ),
            "userid-profile.tsv": (
                "#id\tgender\tage\tcountry\tregistered\nuser_000001\tm\t\tJapan\tAug 13, 2006\n"
                "user_000002\tf\t\tPeru\tFeb 24, 2006\n"
            ),
        },
        [
            (0, "Deep Dish", us(1241445250), (1,)),
            (0, "Deep Dish", us(1241478537), (1,)),
            (1, '"Weird Al"', us(1241445250), (1,)),
        ],
        ("played",),
        {"Deep Dish": "Deep Dish"},
        settings={"context": ["country"]},
        context=("country=Japan", "country=Peru"),
    ),
    Public(
        "lastfm",
        "360k",
        {
            "usersha1-artmbid-artname-plays.tsv": (
                "00000c289a\t3bd73256\tbetty blowtorch\t2137\n00000c289a\t\tdie Ärzte\t99\n"
                "00001411dc\t\tdie Ärzte\t100\n"
            ),
            "usersha1-profile.tsv": "00000c289a\tf\t22\tGermany\tFeb 1, 2007\n00001411dc\tf\t\tCanada\tDec 4, 2007\n",
        },
        [(0, "betty blowtorch", 0, (1,)), (0, "die Ärzte", 1, (0,)), (1, "die Ärzte", 2, (1,))],
        ("often",),
        {"die Ärzte": "die Ärzte"},
        settings={"context": ["country"]},
        context=("country=Germany", "country=Canada"),
    ),
    Public(
        "steam",
        "200k",
        {
            "steam-200k.csv": (
                '151603712,"The Elder Scrolls V, Skyrim",purchase,1.0,0\n'
                '151603712,"The Elder Scrolls V, Skyrim",play,273.0,0\n151603712,Spore,purchase,1.0,0\n'
            )
        },
        [(0, "The Elder Scrolls V, Skyrim", 1, (1,)), (0, "Spore", 2, (0,))],
        ("played",),
        {"Spore": "Spore"},
    ),
    Public(
        "steam",
        "recommendations",
        {
            "recommendations.csv": (
                "app_id,helpful,funny,date,is_recommended,hours,user_id,review_id\n"
                "975370,0,0,2022-12-12,true,36.3,51580,0\n304390,4,0,2017-02-17,false,11.5,2586,1\n"
                "975370,2,0,2022-12-13,true,1.5,2586,2\n"
            ),
            "games.csv": (
                "app_id,title,date_release,win,mac,linux,rating,positive_ratio,user_reviews,price_final,"
                "price_original,discount,steam_deck\n"
                "975370,Dwarf Fortress,2022-12-06,true,false,false,Positive,95,100,28.99,28.99,0.0,true\n"
            ),
        },
        [
            (0, "975370", us(1670803200), (1, 1)),
            (1, "304390", us(1487289600), (0, 1)),
            (1, "975370", us(1670889600), (1, 0)),
        ],
        ("recommended", "played"),
        {"975370": "Dwarf Fortress", "304390": "304390"},
    ),
    Public(
        "steam",
        "reviews",
        {
            "steam_reviews.json.gz": STEAM_REVIEW.format(10.5, 725280) + STEAM_REVIEW.format(0.1, 328100),
            "steam_games.json.gz": (
                "{u'publisher': u'Kotoshiro', u'genres': [u'Action', u'Indie'], u'app_name': u'Lost Summoner', "
                "u'title': u'Lost Summoner', u'tags': [u'Strategy'], u'price': 4.99, u'id': u'725280'}\n"
            ),
        },
        [(0, "725280", us(1513468800), (1,)), (0, "328100", us(1513468800), (0,))],
        ("played",),
        {"725280": "Lost Summoner. Action, Indie. Strategy"},
    ),
    Public(
        "kuairec",
        "captions",
        {
            "data/big_matrix.csv": (
                "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
                "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.273397\n"
                "0,9598,13665,10984,2020-07-05 00:13:41.297,20200705,1593879221.297,0.5\n"
            ),
            "data/kuairec_caption_category.csv": (
                "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name,"
                "second_level_category_id,second_level_category_name,third_level_category_id,third_level_category_name\n"
                '3649,UNKNOWN,"精神小伙, 路难走","[感谢, 热门]",8,颜值,673,颜值随拍,-124,UNKNOWN\n'
            ),
            "data/user_features.csv": "user_id,user_active_degree,is_lowactive_period\n0,high_active,0\n",
        },
        [(0, "3649", 1593878903438000, (1,)), (0, "9598", 1593879221297000, (0,))],
        ("watched",),
        {"3649": "精神小伙, 路难走. [感谢, 热门]. 颜值", "9598": "9598"},
        settings={"context": ["user_active_degree"]},
        context=("user_active_degree=high_active",),
    ),
    Public(
        "kuairec",
        "categories",
        {
            "big_matrix.csv": (
                "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
                "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903,1.273397\n"
            ),
            "item_categories.csv": 'video_id,feat\n3649,"[27, 9]"\n',
        },
        [(0, "3649", 1593878903, (1,))],
        ("watched",),
        {"3649": "Categories [27, 9]"},
        {"3649": "3649"},
    ),
    Public(
        "kuairand",
        "pure",
        {
            "data/log_standard_4_08_to_4_21_pure.csv": KUAI_LOG
            + "0,7,20220408,1500,1649400000000,1,0,0,0,0,0,1,100,90,0,0,0,0,1\n",
            "data/log_standard_4_22_to_5_08_pure.csv": KUAI_LOG
            + "0,8,20220422,1500,1650610000000,0,0,0,0,0,1,0,1,90,0,0,0,0,1\n",
            "data/log_random_4_22_to_5_08_pure.csv": KUAI_LOG
            + "0,9,20220422,1500,1650610000001,1,1,0,0,0,0,0,1,90,0,0,0,1,1\n",
            "data/video_features_basic_pure.csv": (
                "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,"
                'server_height,music_id,music_type,tag\n7,1,NORMAL,2022-04-01,LongImport,1.0,90.0,720,1280,3,9.0,"12,65"\n'
            ),
            "data/user_features_pure.csv": "user_id,user_active_degree\n0,full_active\n",
        },
        [(0, "7", us(1649400000), (1, 0, 1, 0)), (0, "8", us(1650610000), (0, 0, 0, 1))],
        ("clicked", "liked", "watched", "hated"),
        {"7": "Tags 12,65. NORMAL", "8": "8"},
        settings={"context": ["tab"]},
        context=("tab=1",),
    ),
    Public(
        "retailrocket",
        "categories",
        {
            "events.csv": (
                "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
                "1433221332118,257597,addtocart,355908,\n1433221332119,257597,transaction,355908,4000\n"
                "1433224214164,992329,view,248676,\n"
            ),
            "item_properties_part1.csv": (
                "timestamp,itemid,property,value\n1435460400000,355908,categoryid,1338\n"
                "1441508400000,355908,888,1116713 960601 n277.200\n"
            ),
            "item_properties_part2.csv": "timestamp,itemid,property,value\n1433041200000,248676,categoryid,1114\n",
        },
        [(0, "355908", 1433221332119000, (1, 1, 1)), (1, "248676", 1433224214164000, (0, 0, 1))],
        ("bought", "carted", "viewed"),
        {"355908": "Category 1338", "248676": "Category 1114"},
    ),
    Public(
        "retailrocket",
        "events",
        {"events.csv": "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"},
        [(0, "355908", 1433221332117000, (0, 0, 1))],
        ("bought", "carted", "viewed"),
        {"355908": "355908"},
    ),
    Public(
        "hm",
        "transactions",
        {
            "transactions_train.csv": (
                "t_dat,customer_id,article_id,price,sales_channel_id\n"
                "2018-09-20,000058a12d,0663713001,0.050830508474576264,2\n"
                "2018-09-21,000058a12d,0663713001,0.050830508474576264,2\n"
            ),
            "articles.csv": (
                "article_id,product_code,prod_name,product_type_no,product_type_name,colour_group_name,detail_desc\n"
                '0663713001,0663713,Atlanta Push,283,Underwear body,Black,"Lace body, lined."\n'
            ),
            "customers.csv": (
                "customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code\n"
                "000058a12d,,,ACTIVE,NONE,49.0,52043ee2\n"
            ),
        },
        [(0, "0663713001", us(1537401600), (1,)), (0, "0663713001", us(1537488000), (1,))],
        ("bought",),
        {"0663713001": "Atlanta Push. Underwear body. Black. Lace body, lined."},
        settings={"context": ["club_member_status"]},
        context=("club_member_status=ACTIVE",),
    ),
    Public(
        "tenrec",
        "ctr",
        {
            "ctr_data_1M.csv": TENREC
            + ",hist_1,hist_2\n1,75120,1,0,0,0,1,1,1,5,11,12\n1,19673,0,0,0,0,1,0,1,5,11,12\n",
        },
        [(0, "75120", 0, (1, 0, 0, 0)), (0, "19673", 1, (0, 0, 0, 0))],
        ("clicked", "liked", "shared", "followed"),
        {"75120": "75120"},
    ),
    Public(
        "tenrec",
        "qb_video",
        {"QB-video.csv": TENREC + "\n1,75120,1,0,1,0,1,1,1,5\n"},
        [(0, "75120", 0, (1, 1, 0, 0))],
        ("clicked", "liked", "shared", "followed"),
        {"75120": "75120"},
    ),
    Public(
        "open_bandit",
        "men",
        {
            "men.csv": BANDIT
            + "0,2019-11-24 00:00:17.004101+00:00,14,3,0,0.0125,cef3390e,03a5648a,c39b0c7d,398773dc,0.0\n"
            + "1,2019-11-24 00:00:22.878108+00:00,14,1,1,0.0125,cef3390e,03a5648a,c39b0c7d,398773dc,0.0\n"
            + "2,2019-11-24 00:00:23+00:00,27,2,0,0.0125,81ce123c,03a5648a,c39b0c7d,398773dc,0.0\n",
            "item_context.csv": (
                ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n"
                "0,14,-0.677183,4694d53b,7cfcf26f,8c5b4b2b\n"
            ),
        },
        [
            (0, "14", 1574553617004101, (0,)),
            (0, "14", 1574553622878108, (1,)),
            (1, "27", us(1574553623), (0,)),
        ],
        ("clicked",),
        {"14": "4694d53b 7cfcf26f 8c5b4b2b", "27": "27"},
        context=("position=1", "position=2", "position=3"),
    ),
]
PUBLIC = [*MOVIELENS, *AMAZON, *REVIEWS, *EVENTS]
