"""An HTTP client for the official SDKs that tells whether they retried."""

import httpx2


class Counted(httpx2.Client):
    """Counts what is sent, retries included."""

    sent = 0

    def send(self, *args, **kwargs):
        self.sent += 1
        return super().send(*args, **kwargs)
