"""Raw data in, one table of examples and one array of pictures out. Knows no network."""
