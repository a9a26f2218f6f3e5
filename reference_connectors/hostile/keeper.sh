#!/bin/sh
# Keeps a light alive: runs until its standard input ends, which is when the connector does.
while read -r _; do :; done
