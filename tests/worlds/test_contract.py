"""What every world promises. A new world is found by itself; it must say what small is and test each knob."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from casebook import worlds
from casebook.worlds.core import World

# Arguments that make each world small enough for a test; `rows` are those that the number of rows follows.
SMALL = {"ad_click": {"users": 400, "ads": 200, "requests": 3000}, "takeaway": {"users": 400, "towns": 4}}
SMALL["video"] = {"users": 400, "videos": 300}
ROWS = {"ad_click": "requests", "takeaway": "users"}
ROWS["video"] = "users"


def world_modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(worlds.__path__, "casebook.worlds.")]


def world_classes() -> list[type[World]]:
    modules = [importlib.import_module(name) for name in world_modules()]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, World)
        and value is not World
        # A world that is observed by searches with images has no days and no impressions: it has tests of its own.
        and "days" in inspect.signature(value.log).parameters  # type: ignore[attr-defined]
    }
    return sorted(found, key=lambda world: world.name)


WORLDS = world_classes()
EVERY = pytest.mark.parametrize("cls", WORLDS, ids=lambda cls: cls.name)


def small(cls: type[World], **changes: object) -> World:
    return cls(**{"seed": 7, "size": "book", **SMALL[cls.name], **changes})  # type: ignore[call-arg]


def tables(world: World, days: int = 2) -> dict[str, pd.DataFrame]:
    return {**world.catalogue(), "log": world.log(days).frame}


def same(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    """Equal to the last bit, types and order included."""

    def bits(column: pd.Series) -> object:
        values = column.to_numpy()
        return values.tolist() if values.dtype == object else values.tobytes()

    return list(left) == list(right) and all(
        left[c].dtype == right[c].dtype and bits(left[c]) == bits(right[c]) for c in left
    )


def test_worlds_are_found_and_known():
    assert WORLDS
    assert {cls.name for cls in WORLDS} == set(SMALL) == set(ROWS), "say in SMALL and ROWS what a small world is"


@EVERY
def test_every_knob_has_a_test(cls):
    tested = importlib.import_module(f"test_{cls.name}_knobs").KNOBS
    assert set(tested) == set(cls.defaults)


# -- randomness --------------------------------------------------------------------------------------------------------


@EVERY
def test_same_seed_same_tables(cls):
    first, again = tables(small(cls)), tables(small(cls))
    assert all(same(first[name], again[name]) for name in first)
    world = small(cls)
    assert same(world.log(2).frame, world.log(2).frame), "a second log of one world differs"


@EVERY
def test_the_first_days_do_not_depend_on_how_many_follow(cls):
    world = small(cls)
    longer = world.log(3).frame
    assert same(world.log(2).frame, longer[longer["t"] < 2])


@EVERY
def test_seeds_differ(cls):
    first, other = tables(small(cls)), tables(small(cls, seed=8))
    assert not any(same(first[name], other[name]) for name in first)


@contextmanager
def recorded(patch: pytest.MonkeyPatch, burnt: str | None = None) -> Iterator[dict[str, list[np.random.Generator]]]:
    """Keeps every generator that worlds ask for, by stream; draws are taken from the stream ``burnt`` beforehand."""
    asked: dict[str, list[np.random.Generator]] = {}
    original = World.stream

    def stream(self, name):
        generator = original(self, name)
        if name == burnt:
            generator.random(100)
        asked.setdefault(name, []).append(generator)
        return generator

    with patch.context() as scope:
        scope.setattr(World, "stream", stream)
        yield asked


def states(asked: dict[str, list[np.random.Generator]]) -> dict[str, list[dict]]:
    """Where each stream stands after use: equal states mean that the same numbers were drawn."""
    return {name: [g.bit_generator.state for g in generators] for name, generators in asked.items()}


@EVERY
def test_more_draws_in_one_stream_shift_no_other(cls, monkeypatch):
    with recorded(monkeypatch) as asked:
        small(cls).log(1)
    before = states(asked)
    assert len(before) > 3
    for burnt in before:
        with recorded(monkeypatch, burnt) as asked:
            small(cls).log(1)
        after = states(asked)
        assert after[burnt] != before[burnt]
        assert {k: v for k, v in after.items() if k != burnt} == {k: v for k, v in before.items() if k != burnt}


@EVERY
def test_each_stream_is_of_its_own(cls, monkeypatch):
    with recorded(monkeypatch) as asked:
        small(cls).log(1)
    ends = [str(state) for generators in states(asked).values() for state in generators]
    assert len(set(ends)) == len(ends), "two streams drew the same numbers"


@EVERY
def test_turning_a_knob_leaves_every_draw_as_it_was(cls, monkeypatch):
    with recorded(monkeypatch) as asked:
        small(cls).log(1)
    before = states(asked)
    for knob, default in cls.defaults.items():
        with recorded(monkeypatch) as asked:
            try:
                world = small(cls, **{knob: 0.0 if default else 0.5})
            except ValueError:  # a few knobs, such as a click rate, cannot be 0
                asked.clear()
                world = small(cls, **{knob: default / 2})
            world.log(1)
        assert states(asked) == before, f"turning {knob} shifted a stream"


@EVERY
def test_the_global_generator_is_left_alone(cls):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    tables(small(cls))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


# -- settings and arguments --------------------------------------------------------------------------------------------


@EVERY
def test_seed_and_size_of_the_run_reach_the_world(cls, monkeypatch):
    monkeypatch.setenv("CASEBOOK_SEED", "11")
    monkeypatch.setenv("CASEBOOK_SIZE", "big")
    by_run = cls(**SMALL[cls.name])
    assert (by_run.spec.seed, by_run.spec.size) == (11, "big")
    named = small(cls, seed=11, size="big").catalogue()
    assert all(same(named[name], table) for name, table in by_run.catalogue().items())
    monkeypatch.setenv("CASEBOOK_SEED", "12")
    other = cls(**SMALL[cls.name]).catalogue()
    assert not any(same(named[name], table) for name, table in other.items())


@EVERY
def test_bad_arguments_are_refused(cls):
    for knob in cls.defaults:
        with pytest.raises(ValueError, match=rf"{knob} is -0\.5: expected .*(at least|above) 0"):
            small(cls, **{knob: -0.5})
        with pytest.raises(ValueError, match=rf"{knob} is nan: expected a finite number"):
            small(cls, **{knob: float("nan")})
        with pytest.raises(ValueError, match=rf"{knob} is 'high': expected a finite number"):
            small(cls, **{knob: "high"})
    with pytest.raises(
        ValueError, match=rf"{cls.name} world has no 'gravity': expected names among .*{min(cls.defaults)}"
    ):
        small(cls, gravity=1.0)
    with pytest.raises(ValueError, match="seed is -1: expected a whole number of at least 0"):
        small(cls, seed=-1)
    with pytest.raises(ValueError, match=r"seed is 1\.5: expected a whole number"):
        small(cls, seed=1.5)
    with pytest.raises(ValueError, match="size is 'huge': expected one of book, big"):
        small(cls, size="huge")
    for argument in SMALL[cls.name]:
        for value in (0, -3, 2.5, True):
            with pytest.raises(ValueError, match=rf"{argument} is {value}: expected a whole number of at least \d"):
                small(cls, **{argument: value})
    for days in (0, 10_000, 1.5):
        with pytest.raises(ValueError, match=r"days is .*: expected"):
            small(cls).log(days)


@EVERY
def test_what_a_world_is_cannot_be_changed(cls):
    world = small(cls)
    with pytest.raises(TypeError):
        world.spec.knobs[next(iter(cls.defaults))] = 1.0
    for table in world.catalogue().values():
        table.iloc[:, -1] = 0
    assert all(same(table, small(cls).catalogue()[name]) for name, table in world.catalogue().items())
    assert world != small(cls), "worlds are equal only to themselves: arguments that are not knobs differ too"


# -- what is observable ------------------------------------------------------------------------------------------------


@EVERY
def test_no_truth_is_observable(cls):
    world = small(cls)
    frame = world.log(2).frame
    outcome = world.rollout(lambda rows: np.full(len(rows), 0.1), range(2))
    observable = set(frame).union(*world.catalogue().values())
    assert not observable & set(outcome.truth), "a truth column has a name of the log or the catalogue"
    hidden = [
        method
        for name, method in inspect.getmembers(world.truth, inspect.ismethod)
        if not name.startswith("_") and list(inspect.signature(method).parameters) == ["frame"]
    ]
    assert hidden
    for method in hidden:
        truth = method(frame)
        assert len(truth) == len(frame) and np.isfinite(truth).all()
        for column in frame.select_dtypes("number"):
            assert not np.array_equal(frame[column].to_numpy(), truth), f"{column} is truth.{method.__name__}"
    for name, truth in outcome.truth.items():
        for column in outcome.frame.select_dtypes("number"):
            assert not np.array_equal(outcome.frame[column], truth), f"{column} is the truth's {name}"


@EVERY
def test_a_policy_sees_only_what_is_known_before_the_impression(cls):
    world = small(cls)
    log = world.log(1)
    given: set[str] = set()

    def policy(rows: pd.DataFrame) -> np.ndarray:
        given.update(rows)
        return np.full(len(rows), 0.1)

    outcome = world.rollout(policy, range(1))
    after = {late.label for late in log.delayed} | {late.time for late in log.delayed} | {"click", "propensity"}
    assert given < set(log.frame)
    assert not given & (after | set(outcome.truth))


@EVERY
def test_a_policy_that_writes_on_its_rows_changes_nothing(cls):
    world = small(cls)

    def tidy(rows: pd.DataFrame) -> np.ndarray:
        return np.full(len(rows), 0.1)

    def careless(rows: pd.DataFrame) -> np.ndarray:
        for column in rows:
            rows.loc[:, column] = rows[column].iloc[0]
        return np.full(len(rows), 0.1)

    assert same(world.rollout(tidy, range(1)).frame, world.rollout(careless, range(1)).frame)
    two = {"a": tidy, "b": careless}
    assert same(world.rollout({"a": tidy, "b": tidy}, range(1)).frame, world.rollout(two, range(1)).frame)


@EVERY
def test_late_labels_are_hidden_until_they_arrive(cls):
    log = small(cls, **{ROWS[cls.name]: 20_000}).log(3)
    assert log.delayed, "no label is late: take this test away for such a world"
    now = 2.0
    seen, whole = log.asof(now), log.frame[log.frame["t"] <= now]
    assert len(seen) == len(whole) < len(log)
    for late in log.delayed:
        pending = whole[late.time] > now
        assert pending.any() and (whole.loc[pending, late.label] != 0).all()
        assert (seen.loc[pending, late.label] == 0).all() and seen.loc[pending, late.time].isna().all()
        assert same(seen.loc[~pending, [late.label, late.time]], whole.loc[~pending, [late.label, late.time]])
        assert seen[late.label].dtype == log.frame[late.label].dtype
        assert (log.frame[late.time].dropna() >= log.frame.loc[log.frame[late.time].notna(), "t"]).all()
    rest = [c for c in log.frame if not any(c in (late.label, late.time) for late in log.delayed)]
    assert same(seen[rest], whole[rest])
    ever = log.asof(1e9)
    assert same(ever, log.frame)


@EVERY
def test_the_log_is_ordered_and_typed(cls):
    log = small(cls).log(2)
    assert log.frame["t"].is_monotonic_increasing and log.frame["t"].between(0, 2).all()
    assert log.frame.index.equals(pd.RangeIndex(len(log)))
    for name, table in tables(small(cls)).items():
        for column, dtype in table.dtypes.items():
            assert dtype.kind in "biuf", f"{name}.{column} is {dtype}: expected numbers or booleans"


@EVERY
def test_one_row_a_unit(cls):
    for name, table in small(cls).catalogue().items():
        assert len(table) and table.iloc[:, 0].is_unique, f"{name} has no key"


# -- how it is made ----------------------------------------------------------------------------------------------------


def lines_run(work) -> int:
    """Lines of the worlds that are executed: a loop over rows shows as lines that grow with the rows."""
    home, count = str(Path(worlds.__file__).parent), 0

    def local(frame, event, arg):
        nonlocal count
        count += event == "line"
        return local

    def enter(frame, event, arg):
        return local(frame, event, arg) if frame.f_code.co_filename.startswith(home) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@EVERY
def test_no_loop_over_rows(cls):
    few, many = (small(cls, **{ROWS[cls.name]: rows}) for rows in (4_000, 12_000))
    sizes: list[int] = []
    lines = [lines_run(lambda w=world: sizes.append(len(w.log(1)))) for world in (few, many)]
    assert sizes[1] > 2.5 * sizes[0]
    assert abs(lines[1] - lines[0]) < 0.01 * sizes[0], f"{lines} lines for {sizes} rows"


@pytest.mark.parametrize("name", world_modules())
def test_public_functions_are_typed_and_documented(name):
    module = importlib.import_module(name)
    own = [getattr(module, public) for public in module.__all__]
    functions = [f for f in own if inspect.isfunction(f) and f.__module__ == name]
    for owner in (c for c in own if isinstance(c, type) and c.__module__ == name):
        functions += [f for n, f in vars(owner).items() if inspect.isfunction(f) and not n.startswith("_")]
        assert owner.__doc__, f"{owner.__qualname__} has no docstring"
    for function in functions:
        hints = inspect.signature(function)
        untyped = [p.name for p in hints.parameters.values() if p.name != "self" and p.annotation is p.empty]
        assert not untyped, f"{function.__qualname__}: {untyped} have no type"
        assert hints.return_annotation is not hints.empty, f"{function.__qualname__} has no return type"
        assert function.__doc__, f"{function.__qualname__} has no docstring"
