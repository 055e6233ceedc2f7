package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/client"
	"berth/task"
)

func (a *app) definitionCommand() *cobra.Command {
	c := &cobra.Command{Use: "definition", Aliases: []string{"definitions", "def"}, Short: "Look after task definitions"}
	register := &cobra.Command{
		Use:   "register FILE",
		Short: "Register a task definition: a new revision of its family",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := a.readDefinition(args[0])
			if err != nil {
				return err
			}
			d, err := a.client().Register(c.Context(), raw)
			if err != nil {
				return err
			}
			return a.print(d, func(w io.Writer) { fmt.Fprintln(w, nameOf(d)) })
		},
	}
	describe := &cobra.Command{
		Use:               "describe DEFINITION",
		Short:             "Show a task definition as JSON",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeDefinitions,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.client().Definition(c.Context(), args[0])
			if err != nil {
				return err
			}
			a.output = "json" // A definition is JSON; no table says it better.
			return a.print(d, nil)
		},
	}
	deregister := &cobra.Command{
		Use:               "deregister FAMILY:REVISION",
		Short:             "Make a revision INACTIVE: no new tasks of it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeDefinitions,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.client().Deregister(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(d, func(w io.Writer) { fmt.Fprintln(w, nameOf(d)) })
		},
	}
	c.AddCommand(register, a.definitionListCommand(), describe, deregister)
	return c
}

func (a *app) definitionListCommand() *cobra.Command {
	var q client.DefinitionQuery
	c := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List task definitions",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			definitions := []task.Definition{}
			for d, err := range a.client().Definitions(c.Context(), q) {
				if err != nil {
					return err
				}
				definitions = append(definitions, d)
			}
			return a.print(definitions, func(w io.Writer) {
				rows := [][]string{{"DEFINITION", "STATUS", "CPU", "MEMORY", "CONTAINERS", "REGISTERED"}}
				for _, d := range definitions {
					rows = append(rows, []string{nameOf(d), d.Status, d.CPU, d.Memory, containersOf(d),
						span(a.now().Sub(d.RegisteredAt)) + " ago"})
				}
				table(w, rows...)
			})
		},
	}
	c.Flags().StringVar(&q.FamilyPrefix, "prefix", "", "only families that begin so")
	c.Flags().StringVar(&q.Status, "status", "", "ACTIVE (the default) or INACTIVE")
	c.Flags().BoolVar(&q.Descending, "desc", false, "last family and revision first")
	complete(c, "status", task.Active, task.Inactive)
	return c
}

func nameOf(d task.Definition) string { return clean(d.Family + ":" + strconv.Itoa(d.Revision)) }

func containersOf(d task.Definition) string {
	var names []string
	for _, c := range d.ContainerDefinitions {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}
