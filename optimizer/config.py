"""Reading configuration files: everything wrong in a file is found at once, each with its place and what is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from optimizer.attributes import Attributes, AttributesFile, did_you_mean
from optimizer.campaign import CampaignFile
from optimizer.checks import check_attributes, check_campaign
from optimizer.dispatch.kinds import INVALID as CHANNEL
from optimizer.errors import ConfigError, Problem
from optimizer.policy import POLICIES
from optimizer.settings import Settings, overridden, overrides
from optimizer.yaml_file import Document, Keys, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

__all__ = ["Problem", "check_files", "kind_of", "load_attributes", "load_campaign", "load_file", "load_settings"]

ATTRIBUTES_FILE: Final = "attributes.yaml"
"""The name under which attributes are looked for beside a campaign."""

NOT_YET: Final = frozenset({"guardrails"})
"""Parts of a campaign that are planned and do not act yet, so that they are refused by name."""

_Model = TypeVar("_Model", bound=BaseModel)


def load_campaign(path: Path, attributes: Attributes) -> CampaignFile:
    """Read a campaign. Raises `ConfigError` with everything that is wrong in it."""
    document = read_yaml(path)
    campaign, problems = _parse(document, CampaignFile)
    problems += check_campaign(document, attributes)
    return _checked(campaign, problems)


def load_attributes(path: Path) -> Attributes:
    """Read the declared attributes. Raises `ConfigError` with everything that is wrong in the file."""
    document = read_yaml(path)
    content, problems = _parse(document, AttributesFile)
    problems += check_attributes(document)
    return Attributes(_checked(content, problems).attributes)


def load_file(path: Path, model: type[_Model]) -> _Model:
    """Read any other file by its model. Raises `ConfigError` with everything that is wrong in it."""
    return _checked(*_parse(read_yaml(path), model))


def load_settings(path: Path) -> Settings:
    """Read the settings of a service, with those of environment variables over them.

    Raises `ConfigError` with everything that is wrong in the file, and InvalidInput for a variable that is wrong.
    """
    document = read_yaml(path)
    given = overrides()
    settings = overridden(_checked(*_parse(document, Settings)), given)
    filled = any(channel.renders for channel in settings.channels.values())
    paths: list[tuple[Keys, Path]] = [(("campaigns", i), each) for i, each in enumerate(settings.campaigns)]
    paths.append((("attributes_file",), settings.attributes_file))
    if filled:
        paths.append((("templates",), settings.templates))
    missing = [(keys, each) for keys, each in paths if keys[0] not in given and not each.exists()]
    return _checked(settings, [document.problem(keys, f"there is nothing at {each}") for keys, each in missing])


def kind_of(path: Path) -> type[CampaignFile | AttributesFile | Settings]:
    """What a configuration file is, by the names of its fields. Raises `ConfigError` where it cannot be read."""
    names = _as_dict(read_yaml(path).data).keys()
    kinds: tuple[type[CampaignFile | AttributesFile | Settings], ...] = (CampaignFile, AttributesFile, Settings)
    return max(kinds, key=lambda kind: len(names & kind.model_fields.keys()))


def check_files(paths: Sequence[Path], attributes: Path | None = None) -> list[Problem]:
    """Everything that is wrong in these files of campaigns, attributes and settings, in the order of the files.

    A campaign is checked against `attributes`, or, without it, against the `attributes.yaml` beside it.
    """
    problems: list[Problem] = []
    for path in paths:
        try:
            _check_file(path, attributes or path.parent / ATTRIBUTES_FILE)
        except ConfigError as error:
            problems += error.problems
    return list(dict.fromkeys(problems))


def _check_file(path: Path, attributes: Path) -> None:
    kind = kind_of(path)
    if kind is AttributesFile:
        load_attributes(path)
        return
    if kind is Settings:
        load_settings(path)
        return
    try:
        declared = load_attributes(attributes)
    except ConfigError as error:
        _, problems = _parse(read_yaml(path), CampaignFile)
        raise ConfigError([*problems, *error.problems]) from error
    load_campaign(path, declared)


def _as_dict(data: object) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _checked(content: _Model | None, problems: Iterable[Problem]) -> _Model:
    found = sorted(set(problems))
    if content is None or found:
        raise ConfigError(found)
    return content


def _parse(document: Document, model: type[_Model]) -> tuple[_Model | None, list[Problem]]:
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        return None, list(_explained(document, model, error))


def _explained(
    document: Document, model: type[BaseModel], error: ValidationError, at: tuple[str | int, ...] = ()
) -> Iterator[Problem]:
    """The problems of an error of the part of the document that the model is of."""
    for details in error.errors(include_url=False):
        if details["type"] == CHANNEL:
            # A channel's model depends on its kind, which others may have added.
            context = details["ctx"]
            yield from _explained(document, context["model"], context["cause"], (*at, *details["loc"]))
        elif (problem := _explain(document, model, details, at)) is not None:
            yield problem


def _explain(
    document: Document, model: type[BaseModel], error: ErrorDetails, at: tuple[str | int, ...]
) -> Problem | None:
    """The problem in words, at its place; None for an error that only follows from another one."""
    loc = error["loc"]
    keys = _keys(document, (*at, *loc))
    context = error.get("ctx", {})
    match error["type"]:
        case "default_factory_not_called":
            return None
        case "too_short" if len(error["input"]) >= context["min_length"]:
            return None
        case "missing":
            return document.problem((*keys, str(loc[-1])), "required, but not given")
        case "extra_forbidden":
            return document.problem(keys, _unknown_field(model, loc), at_key=True)
        case "policy_kind":
            keys = (*keys, "kind")
            return document.problem(keys, _not_among(document.at(keys), list(POLICIES)))
    return document.problem(keys, _wrong_value(error), at_key=loc[-1:] == ("[key]",))


def _wrong_value(error: ErrorDetails) -> str:
    given = error["input"]
    context = error.get("ctx", {})
    match error["type"]:
        case "literal_error" | "enum":
            return _not_among(given, context["expected"].replace(" or ", ", ").replace("'", "").split(", "))
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch":
            return f"got {_show(given)}; allowed: a letter, then at most 63 letters, digits, '_', '.' or '-'"
        case "model_type" | "dict_type":
            return f"expected fields with values, got {_show(given)}"
        case "tuple_type":
            return f"expected a list, got {_show(given)}"
        case _:
            return f"{error['msg'].replace('Input should', 'should')}, got {_show(given)}"


def _not_among(given: object, choices: list[str]) -> str:
    hint = did_you_mean(given, choices) if isinstance(given, str) else ""
    return f"got {_show(given)}; allowed: {', '.join(choices)}{hint}"


def _keys(document: Document, loc: tuple[str | int, ...]) -> Keys:
    """Pydantic's location without the parts that name no place in the file, such as the kind of a rule."""
    keys: Keys = ()
    for part in loc:
        here = document.at(keys)
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int)):
            keys = (*keys, part)
    return keys


def _show(value: object) -> str:
    """The value as the file has it, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a group of fields"
        case list():
            return "a list"
        case _:
            text = repr(value)
            return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 -- about half a line


def _unknown_field(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    name = str(loc[-1])
    if name in NOT_YET:
        return f"{name} is not supported yet: it would be ignored"
    owners = _models_at(model, loc[:-1])
    allowed = [field.alias or field_name for owner in owners for field_name, field in owner.model_fields.items()]
    if any(owner in POLICIES.values() for owner in owners):
        kinds = [kind for kind, policy in POLICIES.items() if name in policy.model_fields]
        if kinds:
            return f"acts only with kind: {' or '.join(kinds)}"
    return f"unknown field{did_you_mean(name, allowed)}; allowed: {', '.join(allowed)}"


def _models_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """The models that may describe what stands at pydantic's location."""
    found = [model]
    for part in loc:
        inside = [
            inner
            for outer in found
            for name, field in outer.model_fields.items()
            if part in {name, field.alias}
            for inner in _models_in(field.annotation)
        ]
        named = [candidate for candidate in found if candidate.__name__ == part]
        found = inside or named or found
    return found


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
