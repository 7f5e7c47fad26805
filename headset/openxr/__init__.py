"""OpenXR: pictures to a headset on this machine, its wearer's head and hands back."""
