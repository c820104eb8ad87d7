/**
 * A new id: a UUID of version 7 (RFC 9562), which begins with the time. Ids that are made one after another lie beside each other where they are stored, so that a commit
 * with many of them writes few pages.
 */
export function newId(): string {
  const time = Date.now().toString(16).padStart(12, "0");
  // Behind its first twelve digits and its version, a UUID of version 4 is random, but for the variant, which is the same.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${crypto.randomUUID().slice(15)}`;
}
