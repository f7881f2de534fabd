from jaxrec.data.item_text import ItemTable, build_catalogue, texts_without


def test_a_text_without_a_field_loses_the_words_before_it_but_is_never_empty() -> None:
    columns = {"title": ["Red shoes", "Hat"], "brand": ["Acme", ""]}
    items = ItemTable("items.csv", ("a", "b"), columns)
    template = "{title}, by {brand}"
    catalogue, _, _ = build_catalogue(["a", "b", "c"], items, template, {})
    assert catalogue.texts == ("Red shoes, by Acme", "Hat, by", "c")
    assert catalogue.fields == {"title": ("Red shoes", "Hat", ""), "brand": ("Acme", "", "")}
    assert texts_without(catalogue, template, "brand") == ["Red shoes", "Hat", "c"]
    assert texts_without(catalogue, template, "title") == ["by Acme", "Hat, by", "c"]
