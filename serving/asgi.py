"""The API for any ASGI server: uvicorn --app-dir serving asgi:app"""

from headrace.serving.process import build_app
from headrace.settings import load_settings

app = build_app(load_settings())
