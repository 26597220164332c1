"""What the tests of reports share: the kinds of runs, and a name that must never become markup."""

HOSTILE = "<script>alert('x')</script>"
KINDS = ("image", "binary", "regression", "text")
