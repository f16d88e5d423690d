"""CloudEvents' own library for Python sends what it makes: `cloudevents_python.py URL KEY`."""

import sys
import urllib.request

from cloudevents.http import CloudEvent, to_binary, to_structured

url, key = sys.argv[1:]
for number, encoded in enumerate((to_binary, to_structured)):
    about = {"type": "purchase", "source": "/shop", "subject": "dan", "id": f"order-{number}"}
    headers, body = encoded(CloudEvent(about, {"amount": 19.99, "sku": "kettle"}))
    request = urllib.request.Request(
        f"{url}/v1/events", body, {**headers, "authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 202, answer.read()
