#!/bin/bash
printf '[global]\nrealm = EXAMPLE.ORG\ndomain = example.org\n' > "$DIR/default.conf"
printf '# a comment\nURI ldaps://ipa1.example.org ldaps://ipa2.example.org\nBASE dc=example,dc=org\nSASL_NOCANON\ton\n' > "$DIR/ldap.conf"
echo ready; cat >/dev/null
