"""What Schemathesis does not know of by itself."""

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def piece(ctx, value):
    """A piece of an upload is any bytes."""
    return value if isinstance(value, (bytes, str)) else str(value)


@schemathesis.hook
def filter_case(context, case):
    """A header that nobody has heard of is no error: whoever serves HTTP passes over it."""
    return "x-schemathesis-unknown-property" not in (case.headers or {})
