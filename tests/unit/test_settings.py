"""Senseless settings are refused, with the name, the value and the way out."""

import pytest

from server.settings import SettingsError, read_settings


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("BACKLOT_PUBIC_URL", "https://x", "did you mean 'BACKLOT_PUBLIC_URL'?"),
        ("BACKLOT_URL_PUBLIC", "https://x", "did you mean 'BACKLOT_PUBLIC_URL'?"),
        ("BACKLOT_XYZZY", "1", "the settings are BACKLOT_DATA, "),
        ("BACKLOT_ROOT", "/srv", "the settings are BACKLOT_DATA, "),
        ("BACKLOT_PORT", "", "it is empty; unset it to have the default, 8700"),
        ("BACKLOT_PUBLIC_URL", " ", "it is empty; unset it to go without it"),
        ("BACKLOT_DATA", "", "it is empty"),
        ("BACKLOT_DATA", "~/backlot", "nothing expands the ~ here"),
        ("BACKLOT_MODELS", "~operator/models.toml", "nothing expands the ~ here"),
        ("BACKLOT_PORT", "eight", "`int`"),
        ("BACKLOT_PORT", "65536", "<= 65535"),
        ("BACKLOT_MEMORY_GIB", "inf", "a number of GiB"),
        ("BACKLOT_MEMORY_GIB", "-inf", "a number of GiB"),
        ("BACKLOT_MEMORY_GIB", "NaN", "a number of GiB"),
        ("BACKLOT_MEMORY_GIB", "1e999", "a number of GiB"),
        ("BACKLOT_PUBLIC_URL", "studio.lan/backlot", "such as https://studio.lan/backlot"),
        ("BACKLOT_PUBLIC_URL", "ftp://studio.lan", "such as https://studio.lan"),
        ("BACKLOT_PUBLIC_URL", "https://studio.lan/the backlot", "write that as %20"),
        ("BACKLOT_PUBLIC_URL", "https://", "such as https://studio.lan"),
        ("BACKLOT_PUBLIC_URL", "https://studio.lan/?x=1", "but no more"),
        ("BACKLOT_PUBLIC_URL", "https://me:secret@studio.lan/", "but no more"),
        ("BACKLOT_PUBLIC_URL", "https://studio.lan:99999/", "0-65535"),
        ("BACKLOT_TRUSTED_PROXIES", "127.0.0.1, nginx", "'nginx' does not appear to be"),
        ("BACKLOT_TRUSTED_PROXIES", "10.0.0.1/8", "host bits"),
        ("BACKLOT_LOG_LEVEL", "info", "DEBUG, INFO"),
        ("BACKLOT_LOG_DAYS", "99999999999", "<= 36500"),
        ("BACKLOT_ARCHIVE_DAYS", "1e300", "a number of days up to 36500"),
        ("BACKLOT_DEVICES", "cpu,auto", "it takes auto for every GPU, or a list"),
        ("BACKLOT_DEVICES", "cuda:0,cuda:1,cuda", "no GPU comes twice"),
        ("BACKLOT_DEVICES", "cpu, cpu", "such as cuda:0,cuda:1 or cpu,cpu"),
    ],
)
def test_what_cannot_be_meant(variable: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({variable: value})
    assert str(refused.value).startswith(variable)
    assert told in str(refused.value)


def test_one_device_and_several_cannot_both_be_meant() -> None:
    with pytest.raises(SettingsError, match="BACKLOT_DEVICE and BACKLOT_DEVICES are both set"):
        read_settings({"BACKLOT_DEVICE": "cpu", "BACKLOT_DEVICES": "cpu,cpu"})


def test_what_is_meant() -> None:
    settings = read_settings(
        {
            "BACKLOT_PUBLIC_URL": "https://studio.lan:8443/backlot/",
            "BACKLOT_TRUSTED_PROXIES": "::1, 10.0.0.0/8",
            "BACKLOT_MEMORY_GIB": "7.5",
            "BACKLOT_KEY": "sk_live_of_the_client",
            "BACKLOT_URL": "http://elsewhere",
            "BACKLOT_SIGNING_SECRET": "of the client too",
            "PATH": "~/bin",
        }
    )
    assert settings.public_url == "https://studio.lan:8443/backlot"
    assert settings.memory_gib == 7.5
