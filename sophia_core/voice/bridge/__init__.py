"""Voice over SSH: the microphone and loudspeaker of one machine, used by SOPHIA on another.

`server.Bridge` runs where the devices are (`sophia voice bridge`); `devices.BridgeDevices` is a `Devices` where SOPHIA
runs, and finds the bridge through `places`. `ssh -R` carries the bytes of `wire` between them.
"""
