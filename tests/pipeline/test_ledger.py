"""The books."""

from iot2mqtt_pipeline.ledger import Account, accounts, total


def test_what_is_nowhere_is_missing_device_by_device() -> None:
    books = accounts(
        published={"a": 10, "b": 5}, stored={"a": 7, "b": 6}, dead_lettered={"a": 1}, duplicates={"a": 1, "c": 2}
    )
    assert books == {"a": Account(10, 7, 1, 1), "b": Account(5, 6, 0, 0), "c": Account(0, 0, 0, 2)}
    assert {device: book.missing for device, book in books.items()} == {"a": 1, "b": -1, "c": -2}
    assert total(books) == Account(15, 13, 1, 3)


def test_no_device_makes_an_empty_book() -> None:
    assert accounts(published={}, stored={}, dead_lettered={}, duplicates={}) == {}
    assert total({}) == Account(0, 0, 0, 0)
