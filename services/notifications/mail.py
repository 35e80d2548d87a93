"""People, told by e-mail."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime

import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError, EngineError, Unavailable
from quantum_suite.services.notifications.interface import Notification
from quantum_suite.services.notifications.rules import EmailChannel

_SECONDS = 15.0


class EmailSender:
    """Hands notifications to a mail server. The message id is the notification's, so a repetition can be told."""

    def __init__(self, name: str, settings: EmailChannel) -> None:
        """Read the password; raises ConfigurationError where it or the certificates cannot be read."""
        self.name = name
        self._settings = settings
        self._password = settings.password.read() if settings.password is not None else None
        try:
            self._tls = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"The certificates of {name} cannot be read.", "Mend ca_file.") from error

    async def send(self, notification: Notification) -> None:
        """Send it; a cancelled caller still waits for the server's answer, `_SECONDS` a reply at most."""
        message = self._message(notification)
        try:
            await anyio.to_thread.run_sync(self._deliver, message)
        except (smtplib.SMTPServerDisconnected, TimeoutError, ConnectionError) as error:
            raise Unavailable(
                f"The mail server of {self.name} cannot be used now.", "It is tried again."
            ) from error
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
            raise self._refusal(error) from error
        except (smtplib.SMTPException, ssl.SSLError) as error:
            raise ConfigurationError(
                f"The mail server of {self.name} cannot be used as configured: {type(error).__name__}.",
                "Mend tls, ca_file, username and password.",
            ) from error
        except OSError as error:
            raise Unavailable(
                f"The mail server of {self.name} cannot be reached.", "It is tried again."
            ) from error

    def _message(self, notification: Notification) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = ", ".join(self._settings.recipients)
        message["Subject"] = " ".join(notification.title.split())[:200]
        message["Date"] = format_datetime(notification.event.time)
        domain = self._settings.sender.rpartition("@")[2]
        message["Message-ID"] = f"<{notification.id}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(f"{notification.text}\n\n{notification.event.type} {notification.event.id}\n")
        return message

    def _deliver(self, message: EmailMessage) -> None:
        settings = self._settings
        if settings.tls == "implicit":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, settings.port, timeout=_SECONDS, context=self._tls
            )
        else:
            server = smtplib.SMTP(settings.host, settings.port, timeout=_SECONDS)
        with server:
            if settings.tls == "starttls":
                server.starttls(context=self._tls)
            if settings.username is not None and self._password is not None:
                server.login(settings.username, self._password)
            server.send_message(message)

    def _refusal(
        self, error: smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused
    ) -> Unavailable | EngineError | ConfigurationError:
        if isinstance(error, smtplib.SMTPAuthenticationError):
            return ConfigurationError(f"The mail server of {self.name} refuses the password.", "Mend it.")
        codes = (
            [code for code, _ in error.recipients.values()]
            if isinstance(error, smtplib.SMTPRecipientsRefused)
            else [error.smtp_code]
        )
        if all(400 <= code < 500 for code in codes):  # RFC 5321, 4.2.1: transient
            return Unavailable(f"The mail server of {self.name} says to try later.", "It is tried again.")
        return EngineError(
            f"The mail server of {self.name} refuses the message ({codes[0]}).",
            "Mend sender and recipients, then replay the event.",
            engine=f"email {self.name}",
        )
