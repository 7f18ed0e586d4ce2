"""DICOM: image series, segmentations (SEG) and structure sets (RTSTRUCT). Needs the extra `dicom`."""
