"""The official client of GOV.UK Notify against the stand-in of the tests: is the stand-in what its client expects?

And the other way round: are the tokens that the gateway makes those that Notify's own code accepts?
Usage: notify_judge.py URL API-KEY TEMPLATE TOKEN. Needs notifications-python-client from PyPI.
"""

import sys

from notifications_python_client.authentication import create_jwt_token, decode_jwt_token, get_token_issuer
from notifications_python_client.errors import HTTPError
from notifications_python_client.notifications import NotificationsAPIClient

url, key, template, token = sys.argv[1:]


def refused(call, status, error, message):
    try:
        call()
    except HTTPError as problem:
        assert problem.status_code == status, (problem.status_code, status)
        assert problem.message[0]["error"] == error, problem.message
        assert message in problem.message[0]["message"], problem.message
    else:
        raise AssertionError("it was not refused: " + message)


# The gateway's token, by the code that the service itself uses.
assert get_token_issuer(token) == key[-73:-37]
assert decode_jwt_token(token, key[-36:])

client = NotificationsAPIClient(key, base_url=url)
sent = client.send_sms_notification("07700900123", template, {"body": "hello"}, reference="judge-1")
assert sent["reference"] == "judge-1" and sent["content"]["body"].endswith("hello"), sent
assert sent["template"]["id"] == template and sent["uri"].endswith(sent["id"]), sent

one = client.get_notification_by_id(sent["id"])
assert one["status"] == "sending" and one["type"] == "sms", one
found = client.get_all_notifications(reference="judge-1", template_type="sms")
assert [each["id"] for each in found["notifications"]] == [sent["id"]], found
assert client.get_all_notifications(reference="judge-2")["notifications"] == []
assert client.get_all_notifications(status="delivered")["notifications"] == []
assert client.get_received_texts()["received_text_messages"] == []

failing = client.send_sms_notification("+44 7700 900 003", template, {"body": "x"})
assert client.get_notification_by_id(failing["id"])["status"] == "temporary-failure"
client.send_sms_notification("07700900111", template, {"body": "not stored"})

sms = client.send_sms_notification
refused(lambda: sms("0770090012", template, {"body": "x"}), 400, "ValidationError", "Not enough digits")
refused(lambda: sms("077009001234", template, {"body": "x"}), 400, "ValidationError", "Too many digits")
refused(lambda: sms("07x", template, {"body": "x"}), 400, "ValidationError", "Must not contain letters")
refused(lambda: sms("07700900123", "x", {"body": "x"}), 400, "ValidationError", "template_id is not a valid UUID")
refused(lambda: sms("07700900123", template), 400, "BadRequestError", "Missing personalisation: body")
refused(lambda: client.get_notification_by_id(template), 404, "NoResultFound", "No result found")

wrong = NotificationsAPIClient(key[:-1] + ("0" if key[-1] != "0" else "1"), base_url=url)
refused(lambda: wrong.get_notification_by_id(sent["id"]), 403, "AuthError", "Invalid token")
print("the stand-in is what the client expects; so is the token", create_jwt_token("s", "i").count("."))
