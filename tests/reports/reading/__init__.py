"""Ways to read pages and to spoil results, for the tests of all kinds of them."""
