"""Whether MLflow answers a call that asks the database (its /health says yes without one): exit code 0 or 1."""

import json
import sys
import urllib.request

request = urllib.request.Request(
    "http://127.0.0.1:5000/api/2.0/mlflow/experiments/search",
    data=json.dumps({"max_results": 1}).encode(),
    headers={"Content-Type": "application/json"},
)
try:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as response:
        sys.exit(0 if response.status == 200 else 1)
except (OSError, ValueError) as error:
    print(error, file=sys.stderr)
    sys.exit(1)
