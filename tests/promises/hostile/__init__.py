"""Bad input at the gateway: a clear refusal or faithful storage, never a crash, a 500 or a changed byte."""
