"""Samples of each operation in four languages (`x-codeSamples`, as Redoc and others read it).

Each is a whole program, with the API key in the environment variable PORTAL_KEY.
"""

import json
import re
from typing import Any

SERVER = "http://localhost:3001"
_ID = re.compile(r"{\w+}")


def samples(verb: str, path: str, body: Any) -> list[dict[str, str]]:
    """The samples of an operation, on the resources with the id 1.

    Args:
        verb: the HTTP method.
        path: the path with its base; each parameter in it becomes 1.
        body: the example of the request body, or None.
    """
    method, url = verb.upper(), SERVER + _ID.sub("1", path)
    text = None if body is None else json.dumps(body, indent=2, ensure_ascii=False)
    return [
        {"lang": lang, "label": label, "source": write(method, url, text)}
        for lang, label, write in (
            ("Shell", "curl", _curl),
            ("Python", "Python", _python),
            ("Go", "Go", _go),
            ("JavaScript", "JavaScript", _javascript),
        )
    ]


def _curl(method: str, url: str, body: str | None) -> str:
    lines = [f"curl --request {method} \\", f"  --url {url} \\"]
    lines.append('  --header "Authorization: $PORTAL_KEY"')
    if body:
        lines[-1] += " \\"
        quoted = body.replace("'", "'\\''")
        lines += ["  --header 'Content-Type: application/json' \\", f"  --data '{quoted}'"]
    return "\n".join(lines) + "\n"


def _python(method: str, url: str, body: str | None) -> str:
    lines = ["import json", "import os", "", "import httpx", "", "response = httpx.request("]
    lines.append(f'    "{method}",')
    lines.append(f'    "{url}",')
    lines.append('    headers={"Authorization": os.environ["PORTAL_KEY"]},')
    if body:
        literal = json.dumps(json.loads(body), indent=4, ensure_ascii=False)
        literal = literal.replace(": false", ": False").replace(": null", ": None")
        first, *others = literal.splitlines()
        lines += [f"    json={first}", *(f"    {line}" for line in others)]
        lines[-1] += ","
    lines += [")", "response.raise_for_status()", "print(json.dumps(response.json(), indent=2))"]
    return "\n".join(lines) + "\n"


def _go(method: str, url: str, body: str | None) -> str:
    imports = ["fmt", "io", "log", "net/http", "os"]
    reader = "nil"
    if body:
        imports.append("strings")
        reader = f"strings.NewReader(`{body}`)"
    lines = ["package main", "", "import ("]
    lines += [f'\t"{name}"' for name in imports]
    lines += [")", "", "func main() {"]
    lines.append(f'\trequest, err := http.NewRequest("{method}", "{url}", {reader})')
    lines += ["\tif err != nil {", "\t\tlog.Fatal(err)", "\t}"]
    lines.append('\trequest.Header.Set("Authorization", os.Getenv("PORTAL_KEY"))')
    if body:
        lines.append('\trequest.Header.Set("Content-Type", "application/json")')
    lines += ["\tresponse, err := http.DefaultClient.Do(request)"]
    lines += ["\tif err != nil {", "\t\tlog.Fatal(err)", "\t}", "\tdefer response.Body.Close()"]
    lines += ["\ttext, err := io.ReadAll(response.Body)"]
    lines += ["\tif err != nil {", "\t\tlog.Fatal(err)", "\t}"]
    lines += ["\tfmt.Println(response.Status, string(text))", "}"]
    return "\n".join(lines) + "\n"


def _javascript(method: str, url: str, body: str | None) -> str:
    lines = [f'const response = await fetch("{url}", {{', f'  method: "{method}",']
    headers = ["Authorization: process.env.PORTAL_KEY"]
    if body:
        headers.append('"Content-Type": "application/json"')
    lines.append(f"  headers: {{ {', '.join(headers)} }},")
    if body:
        first, *others = body.splitlines()
        lines += [f"  body: JSON.stringify({first}", *(f"  {line}" for line in others)]
        lines[-1] += "),"
    lines += ["});", "console.log(response.status, await response.json());"]
    return "\n".join(lines) + "\n"
