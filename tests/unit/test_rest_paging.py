"""The pages of the REST dialect."""

from dataclasses import dataclass
from typing import Any

import pytest

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.lists import Page, PageRange, read_page
from portal_server.wire.rest_v1.paging import page_range, read_parts


@pytest.mark.parametrize(
    ("per_page", "page", "limit", "rows", "offset"),
    [
        pytest.param(None, None, None, 20, 0, id="the default"),
        pytest.param(None, 3, None, 20, 40, id="a page of the default size"),
        pytest.param(7, None, None, 7, 0, id="a size"),
        pytest.param(7, 1, None, 7, 0, id="the first page"),
        pytest.param(7, 4, None, 7, 21, id="a later page"),
        pytest.param(7, 4, 2, 2, 21, id="a limit leaves the offset alone"),
        pytest.param(7, 4, 100, 7, 21, id="a limit over the size does nothing"),
        pytest.param(None, None, 5, 5, 0, id="a limit alone"),
        pytest.param(None, None, 500, 20, 0, id="a limit over the default size does nothing"),
        pytest.param(1, 1, 1, 1, 0, id="all the least"),
        pytest.param(
            10_000,
            2**31 - 1,
            10_000,
            10_000,
            10_000 * (2**31 - 2),
            id="all the most, within 64 bits",
        ),
    ],
)
def test_the_numbers_of_a_page_give_its_rows(
    per_page: int | None, page: int | None, limit: int | None, rows: int, offset: int
) -> None:
    rows_of_page = page_range(pb.ListProvidersRequest(per_page=per_page, page=page, limit=limit))

    assert rows_of_page == PageRange(limit=rows, offset=offset)
    assert rows_of_page.offset < 2**63


@pytest.mark.parametrize(
    ("field", "most"), [("per_page", 10_000), ("page", 2**31 - 1), ("limit", 10_000)]
)
@pytest.mark.parametrize("over", [False, True])
def test_the_number_of_a_page_is_within_its_limits(
    field: str,
    most: int,
    over: bool,  # noqa: FBT001
) -> None:
    numbers: dict[str, Any] = {"per_page": 20, "page": 1, "limit": 20} | {
        field: most + 1 if over else 0
    }
    with pytest.raises(Invalid) as error:
        page_range(pb.ListClientTypesRequest(**numbers))

    [violation] = error.value.violations
    assert violation == Violation(field, Rule.OUT_OF_RANGE, f"must be between 1 and {most}")


def test_all_invalid_numbers_are_reported_at_once() -> None:
    with pytest.raises(Invalid) as error:
        page_range(pb.ListProvidersRequest(per_page=0, page=-(2**63), limit=2**63 - 1))

    assert [v.field for v in error.value.violations] == ["per_page", "page", "limit"]


@dataclass(frozen=True)
class Row:
    id: int


@pytest.mark.parametrize(
    ("limit", "offset", "stored", "found"),
    [
        pytest.param(10, 0, 5, range(1, 6), id="fewer rows than the page has"),
        pytest.param(10, 3, 20, range(4, 14), id="one part"),
        pytest.param(200, 0, 200, range(1, 201), id="exactly one part"),
        pytest.param(201, 0, 1000, range(1, 202), id="one row more"),
        pytest.param(1000, 10, 900, range(11, 901), id="the last part is not full"),
        pytest.param(1000, 0, 1000, range(1, 1001), id="full parts"),
        pytest.param(1000, 2000, 1000, range(0), id="after the last row"),
    ],
)
def test_the_rows_of_a_page_are_read_in_parts(
    limit: int, offset: int, stored: int, found: range
) -> None:
    parts: list[int] = []

    def read(rows: PageRange) -> Page[Row]:
        parts.append(rows.limit)
        ids = range(rows.after + rows.offset + 1, stored + 1)
        return read_page(rows, lambda part: [Row(id_) for id_ in ids[: part.limit]])

    sent = list(read_parts(PageRange(limit=limit, offset=offset), read))

    assert [row.id for part in sent for row in part] == list(found)
    assert all(len(part) == 50 for part in sent[:-1])
    assert [] not in sent
    assert max(parts) <= 200
    assert len(parts) <= limit // 200 + 1


@pytest.mark.parametrize(
    ("offset", "stored", "rejected"),
    [
        pytest.param(100_000, 100_005, False, id="the most rows that are skipped"),
        pytest.param(100_001, 100_005, True, id="one more"),
        pytest.param(100_001, 100_000, False, id="after the last row"),
        pytest.param(2**62, 5, False, id="long after the last row"),
        pytest.param(2**62, 2**31 - 1, True, id="long after rows"),
    ],
)
def test_a_page_skips_a_bounded_number_of_rows(
    offset: int,
    stored: int,
    rejected: bool,  # noqa: FBT001
) -> None:
    skipped: list[int] = []

    def read(rows: PageRange) -> Page[Row]:
        skipped.append(rows.offset)
        ids = range(rows.after + rows.offset + 1, stored + 1)
        return read_page(rows, lambda part: [Row(id_) for id_ in ids[: part.limit]])

    parts = read_parts(PageRange(limit=20, offset=offset), read)
    if rejected:
        with pytest.raises(Invalid) as error:
            next(parts)
        assert "at most 100000 rows" in error.value.violations[0].message
    else:
        assert sum(map(len, parts)) == max(0, min(20, stored - offset))
    assert max(skipped) <= 100_000
