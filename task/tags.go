package task

import "slices"

// MergeTags returns have with the tags of set, which replace those of the same keys, and
// without those whose keys are in remove. The order is that in which the keys first came.
func MergeTags(have, set []Tag, remove []string) []Tag {
	tags := slices.Clone(have)
	for _, tag := range set {
		if i := slices.IndexFunc(tags, func(t Tag) bool { return t.Key == tag.Key }); i >= 0 {
			tags[i] = tag
		} else {
			tags = append(tags, tag)
		}
	}
	return slices.DeleteFunc(tags, func(t Tag) bool { return slices.Contains(remove, t.Key) })
}

// tags returns what the tasks that r makes of d are tagged with.
func (r Run) tags(d Definition) []Tag {
	all := r.Tags
	if r.PropagateTags {
		all = MergeTags(d.Tags, r.Tags, nil)
	}
	return list(MergeTags(all, r.ManagedTags, nil))
}
