export interface Member<Info = any> {
  id: string
  info: Info
}

/** Who is on a presence channel. */
export class Members {
  members: Record<string, any> = {}
  count = 0
  myID: string | undefined

  get me(): Member | null {
    return this.myID === undefined ? null : this.get(this.myID)
  }

  get(id: string): Member | null {
    return Object.hasOwn(this.members, id) ? { id, info: this.members[id] } : null
  }

  each(callback: (member: Member) => void): void {
    for (const id of Object.keys(this.members)) callback(this.get(id)!)
  }

  /** @internal */
  replace(presence: any): void {
    this.members = Object.assign(Object.create(null), presence?.hash)
    this.count = Object.keys(this.members).length
  }

  /** @internal */
  add({ user_id: id, user_info: info }: any): Member {
    if (!this.get(id)) this.count += 1
    this.members[id] = info
    return { id, info }
  }

  /** @internal */
  update(data: any): Member | null {
    return this.get(data.user_id) && this.add(data)
  }

  /** @internal */
  remove({ user_id: id }: any): Member | null {
    const member = this.get(id)
    if (member) {
      delete this.members[id]
      this.count -= 1
    }
    return member
  }
}
