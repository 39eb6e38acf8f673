"""Authority: a certificate authority of a test's own, made with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"
_CA = """\
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """Issues certificates for this machine's loopback address. certificate: `authority.pem`, the file to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate, self._key = self.self_signed("authority")
        (folder / "ca.cnf").write_text(_CA)
        (folder / "index.txt").write_text("")
        (folder / "serial").write_text("01\n")

    def self_signed(self, name: str) -> tuple[Path, Path]:
        """A certificate that no authority has signed, and its key."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        self._openssl("req", "-x509", *_CURVE, "-days", "2", "-subj", f"/CN=framesift test {name}", "-addext", _NAMES,
                      "-keyout", key, "-out", certificate)  # fmt: skip
        return certificate, key

    def issue(self, name: str, since: str = "2001", until: str = "2100") -> tuple[Path, Path]:
        """A certificate that the authority has signed, and its key. since, until: the first day of these years."""
        certificate, key, request = (self._folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        self._openssl("req", *_CURVE, "-subj", "/CN=framesift test", "-addext", _NAMES, "-keyout", key, "-out", request)
        self._openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", self.certificate, "-keyfile", self._key,
                      "-startdate", f"{since}0101000000Z", "-enddate", f"{until}0101000000Z", "-in", request, "-out",
                      certificate)  # fmt: skip
        return certificate, key

    def _openssl(self, *words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], cwd=self._folder, check=True, capture_output=True)
