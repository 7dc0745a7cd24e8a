"""URLs with values in them: each value is one path segment's or one query value's part, and nothing else."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.declared.url import UrlTemplate

URL = UrlTemplate("https://shop.example/customers/{customer_id}/x-{email}?tenant={tenant_id}&to={email}")


@given(*[st.text(st.characters(exclude_categories=["Cs"]), min_size=1)] * 3)
def test_a_value_arrives_as_one_value_whatever_it_holds(customer, tenant, email):
    values = {"customer_id": customer, "tenant_id": tenant, "email": email}
    if customer in {".", ".."}:
        with pytest.raises(ValueError, match="dots alone"):
            URL.target(values)
        return
    parts = urlsplit(f"https://shop.example{URL.target(values)}")
    assert parts.netloc == "shop.example"
    assert [unquote(segment) for segment in parts.path.split("/")] == ["", "customers", customer, f"x-{email}"]
    assert parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) == [("tenant", tenant), ("to", email)]
    assert parts.fragment == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("shop.example/{customer_id}", "must begin with https://"),
        ("ftp://shop.example/{customer_id}", "must begin with https://"),
        ("https://user:hunter2@shop.example/{customer_id}", "holds a user or password"),
        ("https://hunter2@shop.example/", "holds a user or password"),
        ("https://{customer_id}.shop.example/", "must name a host"),
        ("https://shop.example{customer_id}", "must name a host"),
        ("https://shop.example:{customer_id}/", "must name a host"),
        ("https://büro.example/", "must name a host in ASCII"),
        ("https://shop.example:99999/", "a port that is none"),
        ("https:///x", "must name a host"),
        ("https://shop.example/{customer_id}#x", "behind #"),
        ("https://shop.example/{customer_id", "brace alone"),
        ("https://shop.example/a b", "a character that no URL has"),
        ("https://shop.example/%zz", "a character that no URL has"),
        ("https://shop.example/a\r\nHost: x", "a character that no URL has"),
        ("https://shop.example/../{customer_id}", "dots alone"),
        ("https://shop.example/%2e%2E/{customer_id}", "dots alone"),
        ("https://shop.example/{customer_id}?api_key=hunter2", "a secret in its query"),
        ("https://shop.example/{customer_id}?a=b&access_token=hunter2", "a secret in its query"),
    ],
)
def test_a_url_that_cannot_be_is_refused_and_not_repeated(url, words):
    with pytest.raises(ValueError, match=words) as refused:
        UrlTemplate(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("value", [".", ".."])
def test_a_value_of_dots_alone_is_refused_where_it_would_be_a_segment(value):
    with pytest.raises(ValueError, match="dots alone"):
        UrlTemplate("https://shop.example/{email}").target({"email": value})
    assert UrlTemplate("https://shop.example/x{email}").target({"email": value}) == f"/x{value}"
    assert UrlTemplate("https://shop.example?x={email}").target({"email": value}) == f"/?x={value}"


def test_ports_and_addresses_are_read():
    assert (UrlTemplate("https://shop.example").port, UrlTemplate("http://shop.example").port) == (443, 80)
    url = UrlTemplate("https://[::1]:8443/{customer_id}")
    assert (url.host, url.port, url.header) == ("::1", 8443, "[::1]:8443")
