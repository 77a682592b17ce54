"""The spool: on disk before it counts, settled once, whoever dies."""

import os
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from billing.models import UsageRecord
from billing.spool import Spool, SpooledBatch, take_leftovers
from billing.writer import MoneyConnection, replay_leftovers
from common.ids import uuid7
from tests.factories.money import make_payer, make_record


def batch(records: str = "[]") -> SpooledBatch:
    return SpooledBatch(uuid7(), uuid4(), records)


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path, uuid4())
    batches = [batch('[{"text": "a\\nb"}]'), batch(), batch()]
    for one in batches:
        spool.append(one)
    assert list(spool.batches()) == batches
    spool.clear()
    assert spool.is_empty
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_short_never_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, uuid4())
    whole = batch()
    spool.append(whole)
    [path] = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'["half')
    assert list(spool.batches()) == [whole]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, uuid4())
    kept = batch()
    spool.append(kept)

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        spool.append(batch())
    monkeypatch.undo()
    assert list(spool.batches()) == [kept]


def test_a_living_process_keeps_its_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, uuid4())
    spool.append(batch())
    assert list(take_leftovers(tmp_path)) == []


@pytest.mark.django_db(transaction=True)
def test_leftovers_are_settled_once(tmp_path: Path) -> None:
    payer = make_payer(1_000)
    record = make_record(payer, 100)
    left = SpooledBatch(uuid7(), uuid4(), orjson.dumps([record]).decode())
    for _ in range(2):  # the second time as if the unlink had been lost with the power
        spool = Spool(tmp_path, left.holder)
        spool.append(left)
        os.close(spool._descriptor or -1)
        database = MoneyConnection()
        assert replay_leftovers(tmp_path, database) == 1
        database.close()
    assert payer.wallet.posted == 900
    assert UsageRecord.across_all_organizations.count() == 1
    assert not list(tmp_path.iterdir())
