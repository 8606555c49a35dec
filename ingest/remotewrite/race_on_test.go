//go:build race

package remotewrite

const raceFactor = 10
