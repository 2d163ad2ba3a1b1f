import ssl

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, SaslAuthenticationFailed
from pydantic import SecretStr

from shared.errors import BrokerUnavailable, ConfigurationError, TooLarge
from shared.kafka.connection import connection_options, translate, translated
from shared.settings import KafkaSettings


def test_plain_needs_an_address_only():
    options = connection_options(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert options["bootstrap_servers"] == "a:1,b:2"
    assert not {"ssl_context", "sasl_mechanism"} & options.keys()


def test_sasl_over_tls():
    settings = KafkaSettings(security_protocol="SASL_SSL", username="u", password=SecretStr("p"))
    options = connection_options(settings)
    assert isinstance(options["ssl_context"], ssl.SSLContext)
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "p")
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"


@pytest.mark.parametrize("given", [{}, {"username": "u"}, {"password": SecretStr("p")}])
def test_sasl_without_credentials_names_the_settings(given):
    with pytest.raises(ConfigurationError, match="KAFKA__USERNAME"):
        connection_options(KafkaSettings(security_protocol="SASL_SSL", **given))


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (MessageSizeTooLargeError(), TooLarge),
        (KafkaConnectionError(), BrokerUnavailable),
        (ConnectionRefusedError(111, "refused"), BrokerUnavailable),
        (SaslAuthenticationFailed(), ConfigurationError),
        (ValueError(), BrokerUnavailable),
    ],
)
def test_errors_of_the_driver_become_ours(error, ours):
    assert type(translate(error)) is ours


def test_other_peoples_errors_pass():
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError
