import type { Member } from "./member.js"

interface Change {
  name: string
  user_ids: string[]
}

/** Who of the watchlist is online: the server says it again at each sign-in, and tabs that know are spared. */
export class Watching {
  readonly #states = new Map<string, string>()

  /** What each tab that is signed in has to be told of an event. */
  told(data: { events?: Change[] } | undefined, members: Iterable<Member>): [Member, { events: Change[] }][] {
    const events = data?.events ?? []
    const changes = events
      .map(({ name, user_ids }) => ({ name, user_ids: user_ids.filter((user) => this.#states.get(user) !== name) }))
      .filter(({ user_ids }) => user_ids.length)
    for (const { name, user_ids } of changes) for (const user of user_ids) this.#states.set(user, name)
    const told: [Member, { events: Change[] }][] = []
    for (const member of members) {
      if (member.user === null) continue
      const news = member.watching ? changes : events
      member.watching = true
      if (news.length) told.push([member, { events: news }])
    }
    return told
  }
}
