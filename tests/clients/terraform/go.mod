module berth/tests/clients/terraform

go 1.26

require (
	github.com/hashicorp/terraform v0.11.14
	github.com/terraform-providers/terraform-provider-aws v1.60.0
)

require (
	cloud.google.com/go v0.15.0 // indirect
	github.com/Azure/azure-sdk-for-go v10.3.0-beta+incompatible // indirect
	github.com/Azure/go-autorest v9.10.0+incompatible // indirect
	github.com/Azure/go-ntlmssp v0.0.0-20170803034930-c92175d54006 // indirect
	github.com/ChrisTrenkamp/goxpath v0.0.0-20170625215350-4fe035839290 // indirect
	github.com/Unknwon/com v0.0.0-20151008135407-28b053d5a292 // indirect
	github.com/agext/levenshtein v1.2.1 // indirect
	github.com/agl/ed25519 v0.0.0-20150830182803-278e1ec8e8a6 // indirect
	github.com/apparentlymart/go-cidr v1.0.0 // indirect
	github.com/apparentlymart/go-textseg v1.0.0 // indirect
	github.com/armon/circbuf v0.0.0-20150827004946-bbbad097214e // indirect
	github.com/armon/go-radix v1.0.0 // indirect
	github.com/aws/aws-sdk-go v1.17.0 // indirect
	github.com/beevik/etree v1.0.1 // indirect
	github.com/bgentry/go-netrc v0.0.0-20140422174119-9fd32a8b3d3d // indirect
	github.com/bgentry/speakeasy v0.1.0 // indirect
	github.com/blang/semver v3.5.1+incompatible // indirect
	github.com/chzyer/readline v0.0.0-20161106042343-c914be64f07d // indirect
	github.com/coreos/etcd v3.2.0-rc.1.0.20170908195435-80aa810309d4+incompatible // indirect
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/dgrijalva/jwt-go v0.0.0-20160617170158-f0777076321a // indirect
	github.com/dylanmei/iso8601 v0.1.0 // indirect
	github.com/gogo/protobuf v1.2.0 // indirect
	github.com/golang/protobuf v1.2.0 // indirect
	github.com/golang/snappy v0.0.0-20180518054509-2e65f85255db // indirect
	github.com/google/go-querystring v1.0.0 // indirect
	github.com/google/gofuzz v0.0.0-20170612174753-24818f796faf // indirect
	github.com/googleapis/gax-go v0.0.0-20161107002406-da06d194a00e // indirect
	github.com/gophercloud/gophercloud v0.0.0-20190208042652-bc37892e1968 // indirect
	github.com/gophercloud/utils v0.0.0-20190128072930-fbb6ab446f01 // indirect
	github.com/hashicorp/atlas-go v0.0.0-20161107204910-1792bd8de119 // indirect
	github.com/hashicorp/aws-sdk-go-base v0.3.0 // indirect
	github.com/hashicorp/consul v0.0.0-20171026175957-610f3c86a089 // indirect
	github.com/hashicorp/errwrap v1.0.0 // indirect
	github.com/hashicorp/go-checkpoint v0.0.0-20171009173528-1545e56e46de // indirect
	github.com/hashicorp/go-cleanhttp v0.5.0 // indirect
	github.com/hashicorp/go-getter v0.0.0-20180327010114-90bb99a48d86 // indirect
	github.com/hashicorp/go-hclog v0.0.0-20171005151751-ca137eb4b438 // indirect
	github.com/hashicorp/go-multierror v1.0.0 // indirect
	github.com/hashicorp/go-plugin v0.0.0-20180125190438-e53f54cbf51e // indirect
	github.com/hashicorp/go-retryablehttp v0.5.2 // indirect
	github.com/hashicorp/go-rootcerts v0.0.0-20160503143440-6bb64b370b90 // indirect
	github.com/hashicorp/go-safetemp v1.0.0 // indirect
	github.com/hashicorp/go-slug v0.3.0 // indirect
	github.com/hashicorp/go-tfe v0.3.14 // indirect
	github.com/hashicorp/go-uuid v1.0.1 // indirect
	github.com/hashicorp/go-version v1.0.0 // indirect
	github.com/hashicorp/hcl v0.0.0-20170504190234-a4b07c25de5f // indirect
	github.com/hashicorp/hcl2 v0.0.0-20180308163058-5f8ed954abd8 // indirect
	github.com/hashicorp/hil v0.0.0-20170627220502-fa9f258a9250 // indirect
	github.com/hashicorp/logutils v1.0.0 // indirect
	github.com/hashicorp/serf v0.8.2-0.20171022020050-c20a0b1b1ea9 // indirect
	github.com/hashicorp/vault v0.10.4 // indirect
	github.com/hashicorp/yamux v0.0.0-20160720233140-d1caa6c97c9f // indirect
	github.com/jen20/awspolicyequivalence v1.0.0 // indirect
	github.com/jmespath/go-jmespath v0.0.0-20180206201540-c2b33e8439af // indirect
	github.com/joyent/triton-go v0.0.0-20180313100802-d8f9c0314926 // indirect
	github.com/kardianos/osext v0.0.0-20160811001526-c2c54e542fb7 // indirect
	github.com/keybase/go-crypto v0.0.0-20161004153544-93f5b35093ba // indirect
	github.com/kubernetes-sigs/aws-iam-authenticator v0.3.1-0.20181019024009-82544ec86140 // indirect
	github.com/lusis/go-artifactory v0.0.0-20160115162124-7e4ce345df82 // indirect
	github.com/masterzen/azure-sdk-for-go v0.0.0-20161014135628-ee4f0065d00c // indirect
	github.com/masterzen/simplexml v0.0.0-20160608183007-4572e39b1ab9 // indirect
	github.com/masterzen/winrm v0.0.0-20180224160350-7e40f93ae939 // indirect
	github.com/mattn/go-colorable v0.0.0-20160220075935-9cbef7c35391 // indirect
	github.com/mattn/go-isatty v0.0.4 // indirect
	github.com/mattn/go-shellwords v1.0.1 // indirect
	github.com/mitchellh/cli v0.0.0-20171129193617-33edc47170b5 // indirect
	github.com/mitchellh/colorstring v0.0.0-20150917214807-8631ce90f286 // indirect
	github.com/mitchellh/copystructure v1.0.0 // indirect
	github.com/mitchellh/go-homedir v1.0.0 // indirect
	github.com/mitchellh/go-linereader v0.0.0-20141013185533-07bab5fdd958 // indirect
	github.com/mitchellh/go-testing-interface v0.0.0-20171004221916-a61a99592b77 // indirect
	github.com/mitchellh/go-wordwrap v1.0.0 // indirect
	github.com/mitchellh/hashstructure v1.0.0 // indirect
	github.com/mitchellh/mapstructure v1.0.0 // indirect
	github.com/mitchellh/panicwrap v0.0.0-20161208170302-ba9e1a65e0f7 // indirect
	github.com/mitchellh/prefixedio v0.0.0-20151214002211-6e6954073784 // indirect
	github.com/mitchellh/reflectwalk v1.0.0 // indirect
	github.com/nu7hatch/gouuid v0.0.0-20131221200532-179d4d0c4d8d // indirect
	github.com/oklog/run v1.0.0 // indirect
	github.com/packer-community/winrmcp v0.0.0-20180102160824-81144009af58 // indirect
	github.com/pkg/errors v0.0.0-20170505043639-c605e284fe17 // indirect
	github.com/posener/complete v0.0.0-20171219111128-6bee943216c8 // indirect
	github.com/ryanuber/columnize v0.0.0-20161220214920-0fbbb3f0e3fb // indirect
	github.com/satori/uuid v0.0.0-20160927100844-b061729afc07 // indirect
	github.com/svanharmelen/jsonapi v0.0.0-20180618144545-0c0828c3f16d // indirect
	github.com/terraform-providers/terraform-provider-openstack v1.15.0 // indirect
	github.com/ulikunitz/xz v0.5.4 // indirect
	github.com/xanzy/ssh-agent v0.2.0 // indirect
	github.com/xlab/treeprint v0.0.0-20161029104018-1d6e34225557 // indirect
	github.com/zclconf/go-cty v0.0.0-20180302160414-49fa5e03c418 // indirect
	golang.org/x/crypto v0.0.0-20180211211603-9de5f2eaf759 // indirect
	golang.org/x/net v0.0.0-20190213061140-3a22650c66bd // indirect
	golang.org/x/oauth2 v0.0.0-20170928010508-bb50c06baba3 // indirect
	golang.org/x/sys v0.0.0-20181026203630-95b1ffbd15a5 // indirect
	golang.org/x/text v0.3.0 // indirect
	golang.org/x/time v0.0.0-20190308202827-9d24e82272b4 // indirect
	google.golang.org/api v0.0.0-20171005000305-7a7376eff6a5 // indirect
	google.golang.org/appengine v0.0.0-20150527042145-b667a5000b08 // indirect
	google.golang.org/genproto v0.0.0-20171002232614-f676e0f3ac63 // indirect
	google.golang.org/grpc v0.0.0-20171025225919-b5eab4ccac6d // indirect
	gopkg.in/inf.v0 v0.9.1 // indirect
	gopkg.in/yaml.v2 v2.2.1 // indirect
	k8s.io/apimachinery v0.0.0-20190204010555-a98ff070d70e // indirect
	k8s.io/client-go v10.0.0+incompatible // indirect
	k8s.io/klog v0.1.0 // indirect
)

replace (
	// What it does at its start does not work in a Go of today: see its package client.
	github.com/coreos/etcd => ./etcd
	github.com/terraform-providers/terraform-provider-aws => github.com/hashicorp/terraform-provider-aws v1.60.0
)
