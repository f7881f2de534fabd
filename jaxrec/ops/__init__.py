"""Pure mathematics: nothing here knows about recommenders, environments or configs."""
