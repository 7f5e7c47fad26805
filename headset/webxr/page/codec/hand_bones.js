// Where MediaPipe's 21 joints are among OpenXR's 26 (streams/hand_skeleton.py), and the two bones
// that the rig adds.

export const OPENXR_BONES = [
  1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 20, 22, 23, 24, 25,
]; // prettier-ignore
export const METACARPALS = [6, 11, 16, 21];
export const PALM_JOINTS = [0, 5, 9, 13, 17];
export const WRIST = 1;
export const FOREARM = 26;
export const SLEEVE_END = 27;
export const BONES = 28;
