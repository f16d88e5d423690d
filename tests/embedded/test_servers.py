"""The embedded servers, for real."""

from databases import fresh_database


def test_x(servers, database_url):
    assert fresh_database(servers) != database_url
