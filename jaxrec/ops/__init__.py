"""Pure mathematics: nothing here knows recommenders, environments or configs."""
