"""Addresses of stores: what a tracking URI names, who has named it, and what it may be told.

Others may take `TrackingError` and errors in words, texts without secrets, the checks of a URI, and
`NamedAddresses`. It knows neither journals nor MLflow.
"""
