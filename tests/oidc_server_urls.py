"""The addresses and the claims of the OIDC server of the tests; loaded in its process only."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.views import ConnectDiscoveryInfoView


class Validator(OAuth2Validator):  # type: ignore[misc]
    """Says who the person is and what their roles are."""

    oidc_claim_scope = None

    def get_additional_claims(self) -> dict[str, Any]:
        return {
            "preferred_username": lambda request: request.user.username,
            "groups": lambda request: sorted(group.name for group in request.user.groups.all()),
        }


def discovery(request: HttpRequest) -> HttpResponse:
    """The toolkit's own document, with the two addresses that it leaves out."""
    said = json.loads(ConnectDiscoveryInfoView.as_view()(request).content)
    said["device_authorization_endpoint"] = f"{said['issuer']}/device-authorization/"
    said["revocation_endpoint"] = f"{said['issuer']}/revoke_token/"
    return JsonResponse(said)


urlpatterns = [
    path("o/.well-known/openid-configuration", discovery),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("accounts/login/", LoginView.as_view()),
]
