"""The images that the reference connectors' Dockerfiles build on, made of what is installed on this machine.

Package managers in them use the registries that are configured on this machine.
"""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from tests.conformance.machine_image import Content, interpreter, libraries, make, python_files, tree
from tests.conformance.suite_runs import REFERENCES, REPOSITORY

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
OF_THE_C_LIBRARY = ("dl", "m", "pthread", "resolv", "rt", "util")
"""What every Linux has beside the C library, and packages with compiled parts may load."""
DEBIAN = ("coreutils", "dash", "findutils", "grep", "mawk", "sed")
"""Packages of which every Debian has the programs."""
DEBIAN_NODE = Path("/usr/share/nodejs")
"""Where Debian's own Node.js keeps modules that are built into other Node.js."""
PIP_SETTINGS = {"index-url", "extra-index-url", "trusted-host", "cert", "proxy"}


def said(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout


def program(name: str) -> str:
    """Return where a program is."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return str(Path(found).resolve())


def with_libraries(*programs: str) -> set[str]:
    return {*programs, *libraries(programs)}


def certificates() -> set[str]:
    return {CERTIFICATES} if Path(CERTIFICATES).exists() else set()


def c_library() -> set[str]:
    (main,) = (path for path in libraries(["/bin/sh"]) if "/libc.so" in path)
    return {str(path) for name in OF_THE_C_LIBRARY for path in Path(main).parent.glob(f"lib{name}.so.[0-9]")}


def pip_variables() -> dict[str, str]:
    """Return what leads pip to the registry that it uses here."""
    listed = said(str(interpreter()), str(pip()), "config", "list")
    settings = re.findall(r"^[\w:]+\.([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    return {f"PIP_{key.replace('-', '_').upper()}": value for key, value in settings if key in PIP_SETTINGS}


def pip() -> Path:
    """Return the folder of pip, which Python can start as a program."""
    found = importlib.util.find_spec("pip")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def python() -> Content:
    """Return Python and pip, and the libraries of a Node.js that may be copied into it: one base for all."""
    return Content(
        files=frozenset(
            {*python_files(), *c_library(), *tree(pip()), *certificates()}
            | libraries([program("node")])
            | set(tree(DEBIAN_NODE))
        ),
        scripts={
            "/usr/local/bin/python": f'exec {interpreter()} "$@"',
            "/usr/local/bin/pip": f'exec {interpreter()} {pip()} "$@"',
        },
        variables={"PATH": USUAL_PATH, **pip_variables()},
    )


def npm_variables() -> dict[str, str]:
    """Return what leads npm to the registry that it uses here."""
    settings = json.loads(said("npm", "config", "list", "--json"))
    found = {key: settings.get(key) for key in ("registry", "cafile", "https-proxy")}
    return {f"NPM_CONFIG_{key.replace('-', '_').upper()}": str(value) for key, value in found.items() if value}


def node() -> Content:
    npm = Path(program("npm"))
    programs = (program("node"), "/bin/sh")
    return Content(
        files=frozenset({*with_libraries(*programs), *tree(npm.parents[1], DEBIAN_NODE), *certificates()}),
        placed={"/usr/local/bin/node": program("node")},
        scripts={"/usr/local/bin/npm": f'exec /usr/local/bin/node {npm} "$@"'},
        variables={"PATH": USUAL_PATH, **npm_variables()},
    )


def go() -> Content:
    root = Path(said("go", "env", "GOROOT").strip())
    settings = json.loads(said("go", "env", "-json", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOFLAGS"))
    kept = {*tree(*(root / name for name in ("bin", "lib", "pkg", "src"))), f"{root}/VERSION", f"{root}/go.env"}
    return Content(
        files=frozenset(
            {path for path in kept if Path(path).exists()} | with_libraries("/bin/sh", "/bin/mkdir") | certificates()
        ),
        variables={"PATH": f"{root}/bin:{USUAL_PATH}", **{key: value for key, value in settings.items() if value}},
    )


def debian() -> Content:
    """Return a Debian that has the packages already which the Dockerfile of the shell connector installs."""
    recipe = (REFERENCES / "shell" / "Dockerfile").read_text(encoding="utf-8")
    (line,) = re.findall(r"apt-get install (.*?) *\\$", recipe, re.MULTILINE)
    wanted = [word for word in line.split() if not word.startswith("-")]
    files = {path for path in said("dpkg", "--listfiles", *DEBIAN, *wanted).split("\n") if Path(path).is_file()}
    programs = [path for path in files if re.match(r"(/usr)?/s?bin/", path)]
    return Content(
        files=frozenset(
            {path for path in files if "/share/" not in path}
            | with_libraries(*programs, "/bin/sh", "/usr/bin/awk")
            | certificates()
        ),
        scripts={"/usr/bin/apt-get": "exit 0"},
        variables={"PATH": USUAL_PATH},
    )


BASES: Mapping[str, Mapping[str, Callable[[], Content]]] = {
    "go": {"BASE": go},
    "multiprocess": {"BASE": python},
    "node": {"BASE": node},
    "sensor_hub": {"BASE": python, "NODE": node},
    "shell": {"BASE": debian},
    "simple": {"BASE": python},
    "yeelight": {"BASE": python},
    "zigbee2mqtt": {"BASE": python},
}
"""The build arguments that name base images, for each reference connector."""


@cache
def based(content: Callable[[], Content]) -> str:
    return make(content.__name__.replace("_", "-"), content())


def build(name: str) -> str:
    """Build the image of a reference connector as its Dockerfile says, but on images of this machine."""
    file = REFERENCES / name / "Dockerfile"
    context = REPOSITORY if "from the root" in file.read_text(encoding="utf-8") else file.parent
    tag = f"iot2mqtt-test/{name}"
    arguments = [f"--build-arg={argument}={based(content)}" for argument, content in BASES[name].items()]
    command = ["docker", "build", "--force-rm", "--network=host", f"--tag={tag}", f"--file={file}", *arguments]
    done = subprocess.run([*command, str(context)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return tag
