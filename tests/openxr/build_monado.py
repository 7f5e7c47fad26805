"""Builds Monado, the free OpenXR runtime, for the tests of `headset.openxr`.

    python tests/openxr/build_monado.py [--if-present]

Monado's null compositor shows nothing and needs no headset; its "remote" driver takes the places of
head and hands from a socket, so a test knows what the runtime must answer. Two builds come out of
one: a runtime that lives in the program's own process, and a service whose death a test can cause.

The source (a Debian tarball of Monado 25.0.0) is taken from $VISAVIS_MONADO_SOURCE, else from
../shared/data/openxr beside the checkout. The result goes to $VISAVIS_MONADO, else to
~/.cache/visavis/monado, a folder of some 6 MB that CI may keep between runs; a folder that is whole
and of this script's making is left as it is. Exit code 0: it is there. 1: something is missing,
which is named (with --if-present that is 0, for a CI that goes on without).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("cc", "c++", "cmake", "ninja", "pkg-config", "glslangValidator")
HEADERS = (
    *("vulkan/vulkan.h", "eigen3/Eigen/Core", "libudev.h", "EGL/egl.h", "GL/gl.h"),
    *("xcb/randr.h", "X11/Xlib-xcb.h", "X11/extensions/Xrandr.h"),
)
PACKAGES = (
    "gcc g++ cmake ninja-build pkg-config glslang-tools libvulkan-dev libeigen3-dev libudev-dev "
    "libegl-dev libgl-dev libx11-dev libxcb-glx0-dev libx11-xcb-dev libxcb1-dev "
    "libxcb-randr0-dev libxrandr-dev mesa-vulkan-drivers"
)
TARGETS = ("openxr_monado", "openxr_monado_inprocess", "monado-service")
LEFT_OUT = (
    *("XRT_HAVE_" + name for name in (
        "OPENCV", "SDL2", "DBUS", "GST", "HIDAPI", "LIBUSB", "JPEG", "V4L2", "WAYLAND", "SYSTEMD",
        "LIBBSD", "SYSTEM_CJSON", "BLUETOOTH", "ONNXRUNTIME",
    )),
    *("XRT_BUILD_DRIVER_" + name for name in (
        "VIVE", "WMR", "STEAMVR_LIGHTHOUSE", "PSMV", "PSSENSE", "HDK", "HYDRA", "RIFT_S", "ROKID",
        "OPENGLOVES", "NS", "XREAL_AIR", "ULV2", "TWRAP",
    )),
    "XRT_FEATURE_STEAMVR_PLUGIN", "XRT_FEATURE_TRACING", "XRT_MODULE_MONADO_CLI", "BUILD_TESTING",
    "BUILD_DOC", "XRT_BUILD_SAMPLES",
)  # fmt: skip

EVENTS = """
/* Visavis: a test asks for a session event in the first spare byte of a head's packet. */
static void
visavis_event(struct r_hub *r, uint8_t wanted)
{
	union xrt_session_event event = {0};
	if (wanted >= 1 && wanted <= 3) { /* hidden, visible, focused */
		event.state.type = XRT_SESSION_EVENT_STATE_CHANGE;
		event.state.visible = wanted >= 2;
		event.state.focused = wanted == 3;
	} else if (wanted == 4) {
		event.loss_pending.type = XRT_SESSION_EVENT_LOSS_PENDING;
		event.loss_pending.loss_time_ns = os_monotonic_get_ns();
	} else if (wanted == 5) {
		event.lost.type = XRT_SESSION_EVENT_LOST;
	} else if (wanted == 6) { /* recentred */
		event.ref_change.event_type = XRT_SESSION_EVENT_REFERENCE_SPACE_CHANGE_PENDING;
		event.ref_change.ref_type = XRT_SPACE_REFERENCE_TYPE_LOCAL;
		event.ref_change.timestamp_ns = os_monotonic_get_ns();
		event.ref_change.pose_in_previous_space = (struct xrt_pose)XRT_POSE_IDENTITY;
		event.ref_change.pose_valid = true;
	} else {
		return;
	}
	if (xrt_session_event_sink_push(r->visavis_sink, &event) != XRT_SUCCESS) {
		R_WARN(r, "visavis: event %u went nowhere", wanted);
	}
}

"""

IN_PROCESS = """
# Visavis: the same runtime with the compositor in the program's own process.
set(VISAVIS_EXPORTS "${CMAKE_CURRENT_SOURCE_DIR}/libopenxr.version")
add_library(openxr_monado_inprocess MODULE target.c libopenxr.def)
target_compile_definitions(openxr_monado_inprocess PRIVATE VISAVIS_IN_PROCESS)
target_link_libraries(openxr_monado_inprocess PUBLIC
	aux_vk aux_os aux_util aux_math st_oxr st_prober target_lists target_instance comp_client)
set_property(TARGET openxr_monado_inprocess APPEND_STRING PROPERTY LINK_FLAGS
	"-u xrNegotiateLoaderRuntimeInterface -Wl,--version-script=\\"${VISAVIS_EXPORTS}\\"")
"""

_NULL = "src/xrt/compositor/null/null_compositor.c"
_HUB = "src/xrt/drivers/remote/r_hub.c"
EDITS: tuple[tuple[str, str, str], ...] = (
    # File, an anchor that is there once, and what stands in its place ("@" is the anchor).
    (_NULL, "U_TIME_1S_IN_NS / 20;", "U_TIME_1S_IN_NS / debug_get_num_option_visavis_hz();"),
    (
        _NULL,
        "static struct vk_bundle *\n",
        'DEBUG_GET_ONCE_NUM_OPTION(visavis_hz, "VISAVIS_NULL_HZ", 20)\n\n@',
    ),
    # Monado listens to the whole network; these tests are nobody else's business.
    (_HUB, "htonl(INADDR_ANY)", "htonl(INADDR_LOOPBACK)"),
    (_HUB, '#include "r_internal.h"\n', '@#include "os/os_time.h"\n#include "xrt/xrt_session.h"\n'),
    ("src/xrt/drivers/remote/r_internal.h", "	r_socket_t accept_fd;\n",
     "@	struct xrt_session_event_sink *visavis_sink;\n"),
    (_HUB, "	r->port = port;\n", "@	r->visavis_sink = broadcast;\n"),
    (_HUB, "static void *\nrun_thread(", EVENTS + "@"),
    (_HUB, "			r->latest = data;\n",
     "@			visavis_event(r, *(const uint8_t *)&data.head._pad0);\n"),
    ("src/xrt/targets/openxr/target.c", "#ifdef XRT_FEATURE_IPC_CLIENT\n",
     "#if defined(XRT_FEATURE_IPC_CLIENT) && !defined(VISAVIS_IN_PROCESS)\n"),
)  # fmt: skip


class MissingError(RuntimeError):
    """What a build needs and this machine has not."""


def main(arguments: list[str]) -> int:
    """Build unless it is there; see the module's docstring."""
    if set(arguments) - {"--if-present"}:
        print(__doc__, file=sys.stderr)
        return 2
    out = monado_folder()
    try:
        source = find_source()
        stamp = _stamp(source)
        if is_whole(out) and (out / "stamp").read_text() == stamp:
            print(f"Monado is at {out}")
            return 0
        require_tools()
        build(source, out, stamp)
    except MissingError as error:
        print(f"build_monado: {error}", file=sys.stderr)
        return 0 if "--if-present" in arguments else 1
    print(f"built Monado: {out}")
    return 0


def monado_folder() -> Path:
    """Where the runtime is, or belongs."""
    named = os.environ.get("VISAVIS_MONADO")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "visavis" / "monado"


def is_whole(folder: Path) -> bool:
    """Whether a build ended there."""
    names = ("in_process.json", "service.json", "monado-service", "stamp")
    return all((folder / name).is_file() for name in names)


def is_current(folder: Path) -> bool:
    """Whether a build of this very script is there."""
    return is_whole(folder) and (folder / "stamp").read_text().startswith(_own_digest())


def find_source() -> Path:
    """The tarball. Raises MissingError."""
    named = os.environ.get("VISAVIS_MONADO_SOURCE")
    if named:
        if not Path(named).is_file():
            raise MissingError(f"VISAVIS_MONADO_SOURCE={named}: no such file")
        return Path(named)
    folder = ROOT.parent / "shared" / "data" / "openxr"
    found = sorted(folder.glob("monado_*.orig.tar.xz"))
    if not found:
        raise MissingError(
            f"no source of Monado: none in {folder}; name Debian's monado_25.0.0+dfsg.orig.tar.xz "
            "in VISAVIS_MONADO_SOURCE"
        )
    return found[-1]


def require_tools() -> None:
    """Raise MissingError unless compilers, tools and headers are here."""
    places = [Path("/usr/include"), Path("/usr/local/include")]
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    lacking += [name for name in HEADERS if not any((p / name).exists() for p in places)]
    if lacking:
        raise MissingError(
            f"lacking {', '.join(lacking)}; apt-get install -y --no-install-recommends {PACKAGES}"
        )


def build(source: Path, out: Path, stamp: str) -> None:
    """Unpack, change and compile in a scratch folder; `out` appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="monado-") as scratch:
        with tarfile.open(source) as tar:
            tar.extractall(scratch, filter="data")
        tree = next(path for path in Path(scratch).iterdir() if path.is_dir())
        change(tree)
        work = Path(scratch) / "build"
        _run(
            *("nice", "-n", "10", "cmake", "-G", "Ninja", "-S", str(tree), "-B", str(work)),
            *("-DCMAKE_BUILD_TYPE=Release", "-DXRT_FEATURE_SERVICE=ON"),
            *(f"-D{name}=OFF" for name in LEFT_OUT),
        )
        _run("nice", "-n", "10", "ninja", "-C", str(work), *TARGETS)
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="monado-", dir=out.parent))
        made.chmod(0o755)
        targets = work / "src" / "xrt" / "targets"
        for name, place in (
            ("libopenxr_monado_inprocess.so", targets / "openxr"),
            ("libopenxr_monado.so", targets / "openxr"),
            ("monado-service", targets / "service"),
        ):
            shutil.copy2(place / name, made / name)
            _run("strip", "--strip-unneeded", str(made / name))
        for name, library in (
            ("in_process", "libopenxr_monado_inprocess.so"),
            ("service", "libopenxr_monado.so"),
        ):
            # A path with a slash is relative to the manifest (OpenXR loader specification).
            runtime = {"name": f"Monado, {name}", "library_path": f"./{library}"}
            manifest = {"file_format_version": "1.0.0", "runtime": runtime}
            (made / f"{name}.json").write_text(json.dumps(manifest, indent=1))
        shutil.copy2(tree / "LICENSE", made / "LICENSE")
        (made / "stamp").write_text(stamp)
        shutil.rmtree(out, ignore_errors=True)
        made.rename(out)


def change(tree: Path) -> None:
    """Make Monado's sources what the tests need."""
    for name, anchor, text in EDITS:
        path = tree / name
        old = path.read_text()
        if old.count(anchor) != 1:
            raise MissingError(f"{name}: expected {anchor!r} once, got {old.count(anchor)}")
        path.write_text(old.replace(anchor, text.replace("@", anchor)))
    with (tree / "src/xrt/targets/openxr/CMakeLists.txt").open("a") as lists:
        lists.write(IN_PROCESS)


def _stamp(source: Path) -> str:
    """Changes whenever the source does, or what this script makes of it."""
    return f"{_own_digest()} {hashlib.sha256(source.read_bytes()).hexdigest()}"


def _own_digest() -> str:
    made_of = (EDITS, IN_PROCESS, LEFT_OUT, TARGETS)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise MissingError(f"{command[0]} failed ({done.returncode}):\n{tail}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
