//go:build !amd64

package main

var architectureProbes []probe
