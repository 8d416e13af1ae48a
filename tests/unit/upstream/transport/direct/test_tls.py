from __future__ import annotations

import os
import shutil
import ssl
from pathlib import Path

import pytest

from app.core.endpoint import Tls
from app.upstream.transport.direct.tls import ssl_context

CERTS = Path(__file__).parents[4] / "certs"
CA = str(CERTS / "ca.pem")


def test_equal_settings_share_one_context():
    assert ssl_context(Tls(ca=CA)) is ssl_context(Tls(ca=CA))
    assert ssl_context(None) is ssl_context(Tls())


def test_certificates_are_required_unless_switched_off():
    assert ssl_context(Tls(ca=CA)).verify_mode is ssl.CERT_REQUIRED
    assert ssl_context(Tls(ca=CA)).check_hostname
    assert ssl_context(Tls(ca=CA, verify=False)).verify_mode is ssl.CERT_NONE


def test_changed_file_makes_a_new_context(tmp_path):
    path = tmp_path / "ca.pem"
    shutil.copy(CA, path)
    before = ssl_context(Tls(ca=str(path)))
    os.utime(path, ns=(1, 1))
    assert ssl_context(Tls(ca=str(path))) is not before


def test_client_certificate_is_loaded():
    tls = Tls(ca=CA, cert=str(CERTS / "endpoint.pem"), key=str(CERTS / "endpoint.key"))
    assert ssl_context(tls) is ssl_context(tls)


@pytest.mark.parametrize(
    "tls", [Tls(ca="/not/there"), Tls(ca=str(CERTS / "endpoint.key")), Tls(ca=CA, cert=CA)]
)
def test_missing_or_wrong_files_are_os_errors(tls):
    with pytest.raises(OSError):
        ssl_context(tls)
