from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.attributes import Attribute, Attributes, AttributeType
from optimizer.customers import check_customer, read_customers
from optimizer.errors import InvalidInput
from optimizer.store.customers import Customer

if TYPE_CHECKING:
    from pathlib import Path

ATTRIBUTES = Attributes(
    tuple(
        Attribute(name=name, type=AttributeType(kind), description="x")
        for name, kind in {
            "days": "number",
            "vip": "boolean",
            "plan": "category",
            "interests": "multi_category",
        }.items()
    )
)
ANNA = Customer(
    "anna",
    {"days": 12.0, "vip": True, "plan": "gold", "interests": ["art", "tea"]},
    "Europe/Paris",
    {"email": "anna@example.org"},
    {"email_marketing": True},
)
BOB = Customer("bob")


def load(path: Path, chunk_rows: int = 5000) -> tuple[list[Customer], list[str]]:
    customers: list[Customer] = []
    problems: list[str] = []
    for chunk in read_customers(path, ATTRIBUTES, chunk_rows):
        customers += chunk.customers
        problems += [str(problem).removeprefix(str(path)) for problem in chunk.problems]
    return customers, problems


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_same_customers_come_out_of_csv_ndjson_and_parquet(tmp_path: Path) -> None:
    csv = write(
        tmp_path / "a.csv",
        "\ufeffcustomer_id,days,vip,plan,interests,timezone,address.email,consent.email_marketing\n"
        "anna,12,yes,gold,art|tea,Europe/Paris,anna@example.org,TRUE\n"
        "\n"
        "bob,,,,,,,\n",
    )
    ndjson = write(
        tmp_path / "a.ndjson",
        '{"customer_id": "anna", "attributes": {"days": 12, "vip": true, "plan": "gold", "interests": ["art", "tea"]},'
        ' "timezone": "Europe/Paris", "addresses": {"email": "anna@example.org"},'
        ' "consents": {"email_marketing": true}}\n\n{"customer_id": "bob", "addresses": null}\n',
    )
    parquet = tmp_path / "a.parquet"
    columns = {
        "customer_id": ["anna", "bob"],
        "days": [12.0, float("nan")],
        "vip": [True, None],
        "plan": ["gold", None],
        "interests": [["art", "tea"], None],
        "timezone": ["Europe/Paris", None],
        "address.email": ["anna@example.org", None],
        "consent.email_marketing": [True, None],
    }
    pq.write_table(pa.table(columns), parquet)
    for path in (csv, ndjson, parquet):
        assert load(path) == ([ANNA, BOB], [])


def test_every_rejected_row_is_reported_with_its_line_and_field_and_the_others_are_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "customer_id,days,plan,timezone,consent.email\n"
        "ok,1,gold,,\n"
        ",1,gold,,\n"
        "c,many,gold,Mars/North,perhaps\n"
        '"multi\nline",1,gold,,\n'
        "short,1\n"
        "ok,2,gold,,\n"
        "last,3,,,no\n",
    )
    customers, problems = load(path)
    assert [customer.customer_id for customer in customers] == ["ok", "last"]
    assert problems == [
        ":3: customer_id: expected a text of 1 to 256 characters, none of them a control character",
        ":4: timezone: expected an IANA time zone such as Europe/Paris",
        ":4: attributes.days: expected a finite number",
        ":4: consents.email: expected true or false",
        ":5: customer_id: expected a text of 1 to 256 characters, none of them a control character",
        ":7: line: expected 5 cells, got 2",
        ":8: customer_id: 'ok' is the customer of line 2 already",
    ]


def test_a_line_of_ndjson_that_is_no_customer_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"customer_id": "a"}\n[1]\n{"customer_id"\n{"customer_id": "b", "zone": "x"}\n')
    customers, problems = load(path)
    assert customers == [Customer("a")]
    assert problems[0] == ":2: customer: expected an object, got list"
    assert problems[1].startswith(":3: line: not JSON: ")
    assert problems[2] == ":4: zone: not a part of a customer; did you mean timezone?"


def test_a_repeated_customer_is_found_across_chunks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "customer_id\na\nb\nc\na\n")
    chunks = list(read_customers(path, ATTRIBUTES, chunk_rows=2))
    assert [len(chunk.customers) for chunk in chunks] == [2, 1]
    assert [chunk.rejected for chunk in chunks] == [0, 1]
    assert [problem.line for problem in chunks[1].problems] == [5]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "customer_id,day\n", "a.csv:1: column 'day' is neither .* did you mean days?"),
        ("a.csv", "days\n1\n", "a.csv:1: there is no column 'customer_id'"),
        ("a.csv", "", "a.csv:1: there is no column 'customer_id'"),
        ("a.csv", "customer_id,days,days\n", "a.csv:1: column 'days' is there twice"),
        ("a.csv", 'customer_id\na\n"b', "a.csv:3: not CSV in UTF-8: unexpected end of data"),
        ("a.txt", "", "a.txt: expected a file that ends in .csv, .ndjson, .jsonl, .parquet"),
        ("a.parquet", "no", "a.parquet: not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_it_should_be(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(write(tmp_path / name, text))


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"customer_id\n\xff\n")
    with pytest.raises(InvalidInput, match="not CSV in UTF-8"):
        load(path)


def test_a_parquet_file_may_have_numbers_as_customer_ids(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"customer_id": [7, 8], "plan": [1, None]}), path)
    assert load(path) == (
        [Customer("8")],
        [":1: attributes.plan: expected a text of at most 10,000 characters, without NUL"],
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    body=JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "customer_id": st.text(max_size=3) | JSON,
            "attributes": st.dictionaries(st.sampled_from(["days", "plan", "vip", "interests", "?"]), JSON) | JSON,
            "timezone": st.sampled_from(["Europe/Paris", "UTC"]) | JSON,
            "addresses": st.dictionaries(st.text(), st.text()) | JSON,
            "consents": st.dictionaries(st.text(), st.booleans()) | JSON,
        },
    )
)
def test_any_json_is_either_a_customer_or_has_a_problem(body: Any) -> None:  # noqa: ANN401 - any JSON
    customer, problems = check_customer(body, ATTRIBUTES)
    assert (customer is None) == bool(problems)
    if customer is not None:
        again = {
            "customer_id": customer.customer_id,
            "attributes": customer.attributes,
            "timezone": customer.timezone,
            "addresses": customer.addresses,
            "consents": customer.consents,
        }
        assert check_customer(orjson.loads(orjson.dumps(again)), ATTRIBUTES) == (customer, [])
