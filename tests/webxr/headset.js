// An emulated headset in the place of navigator.xr, as `globalThis.headset`. PROFILE is replaced.
globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
{
  const profiles = {
    quest: IWER.metaQuest3,
    // A headset that only goes into VR and never says what its controllers are: as visionOS.
    vision: {
      ...IWER.metaQuest3,
      name: "Like a Vision Pro",
      supportedSessionModes: ["inline", "immersive-vr"],
      supportedFeatures: ["viewer", "local", "local-floor", "hand-tracking"],
      supportedFrameRates: [],
      environmentBlendModes: { "immersive-vr": "opaque" },
    },
  };
  const options = { stereoEnabled: true, ipd: 0.063, fovy: Math.PI / 2 };
  globalThis.headset = new IWER.XRDevice(profiles["PROFILE"], options);
  globalThis.headset.installRuntime({ forceInstall: true });
  globalThis.headset.primaryInputMode = "hand";
}
