/**
 * The order of play of a round-robin tournament: every two of the players meet once, and the pairs of a round have no player
 * in common (circle method: one player stays, the others go round).
 */
export function tournament(players: number): [number, number][] {
  // With an odd number the one who stays does not play.
  const circle = players % 2 === 0 ? players - 1 : players;
  const pairs: [number, number][] = [];
  for (let round = 0; round < circle; round++) {
    if (circle < players) pairs.push(round % 2 === 0 ? [round, circle] : [circle, round]);
    for (let i = 1; i <= (circle - 1) / 2; i++) pairs.push([(round + i) % circle, (round - i + circle) % circle]);
  }
  return pairs;
}
