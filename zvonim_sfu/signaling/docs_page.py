"""A page that shows the OpenAPI document: plain HTML, without script or download."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape
from typing import Any, Final

from zvonim_sfu.signaling.errors import Fault

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid #8886; margin-top: 2rem }
h2 code { font-size: 1.1rem } .method { font-weight: 700; text-transform: uppercase }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8883 }
td:first-child { white-space: nowrap } tr:target { background: #fc03 }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere }
"""

# The page may use its own style, and nothing else at all.
DOCS_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def docs_page(document: dict[str, Any]) -> str:
    """Return the page for an OpenAPI document as `openapi_document` makes it."""
    info = document["info"]
    operations = "".join(
        _operation(method, path, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    faults = "".join(
        f'<tr id="{fault.code}"><td><code>{fault.code}</code></td><td>{fault.status}</td>'
        f"<td>{escape(fault.meaning)}</td></tr>"
        for fault in Fault
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])} API</title>
<style>{_STYLE}</style>
<h1>{escape(info["title"])} {escape(info["version"])}: REST interface</h1>
<p>{_prose(info["description"])} For programs: <a href="/openapi.json">openapi.json</a>.</p>
{operations}
<section><h2>Errors</h2><table><tr><th>code</th><th>status</th><th>meaning</th></tr>{faults}</table></section>
</html>
"""


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    parts = [
        f'<section><h2><span class="method">{method}</span> <code>{escape(path)}</code></h2>',
        f"<p>{_prose(operation['summary'])}</p>",
    ]
    if parameters := operation.get("parameters"):
        parts.append("<h3>Path</h3>" + _table([_row(item["name"], item["schema"]) for item in parameters]))
    if body := operation.get("requestBody"):
        parts.append("<h3>Request</h3>" + _fields(body["content"]["application/json"]["schema"], document))
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    parts.append("<h3>Answer</h3>" + _fields(answer, document))
    errors = [
        (status, response["description"], "") for status, response in operation["responses"].items() if status != "200"
    ]
    if errors:
        parts.append("<h3>Errors</h3>" + _table(errors))
    return "".join([*parts, "</section>"])


def _fields(schema: dict[str, Any], document: dict[str, Any]) -> str:
    """Return a table of a model's fields, those of the models in it included."""
    return _table(_rows(schema["$ref"], document, ""))


def _rows(reference: str, document: dict[str, Any], prefix: str) -> list[tuple[str, str, str]]:
    model = document["components"]["schemas"][reference.rpartition("/")[2]]
    rows: list[tuple[str, str, str]] = []
    for field, value in model["properties"].items():
        optional = "" if field in model.get("required", ()) else " (optional)"
        rows.append(_row(prefix + field + optional, value))
        for choice in value.get("anyOf", [value]):
            if "$ref" in choice:
                rows += _rows(choice["$ref"], document, f"{prefix}{field}.")
            elif "$ref" in choice.get("items", {}):
                rows += _rows(choice["items"]["$ref"], document, f"{prefix}{field}[].")
    return rows


def _row(name: str, schema: dict[str, Any]) -> tuple[str, str, str]:
    return name, _type(schema), schema.get("description", "")


def _type(schema: dict[str, Any]) -> str:
    """Return a schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"]).lower()
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "$ref" in schema:
        return "object"
    words = [schema.get("format") or schema["type"]]
    if "maxLength" in schema:
        words.append(f"of up to {schema['maxLength']} characters")
    return " ".join(words)


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = (f"<tr><td><code>{escape(a)}</code></td><td>{_prose(b)}</td><td>{_prose(c)}</td></tr>" for a, b, c in rows)
    return f"<table>{''.join(cells)}</table>"


def _prose(text: str) -> str:
    """Escape a text, and show what stands between backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
