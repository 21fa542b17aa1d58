/** Title and lines for an error of a stream, for people. */
export function explained(error, name) {
  if (error.code === 'E0101')
    return [`${name} is no RFV file`, 'Its first bytes are not the signature of the format (E0101, section 4.1).'];
  if (!error.code) return [`${name} can't be shown`, error.message];
  const where = error.offset === null ? '' : ` in the unit at byte ${error.offset}`;
  return [
    `${name} is damaged or not a conforming RFV file`,
    `${error.code} ${error.errorName}${where}`,
    error.detail || error.meaning,
    `Requirement ${error.requirement}, section ${error.section} of the specification.`,
  ];
}
